//! Compiles `proto/` to Rust with protox, so that no `protoc` has to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "proto/muster/v1/event.proto",
        "proto/muster/v1/collector.proto",
        "proto/muster/v1/configuration.proto",
        "proto/muster/v1/enrolment.proto",
    ];
    for file in files {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure()
        // Batches are handed on as they came: no copy out of the receive buffer.
        .bytes(".muster.v1.SealedBatch")
        .bytes(".muster.v1.OtlpPayload")
        .compile_fds(descriptors)?;
    Ok(())
}
