//! The receiving side of OTLP/gRPC and OTLP/HTTP, over hyper's requests; what is done with a payload is an [`Intake`]'s.
