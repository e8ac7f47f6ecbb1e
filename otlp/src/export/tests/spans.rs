//! Sessions and runs as spans.

use prost::Message;

use super::super::spans;
use super::{batch, full, key};
use crate::proto::collector_trace::ExportTraceServiceRequest;

#[test]
fn a_run_is_a_span_below_that_of_its_session() {
    let exported = spans(&key(), &batch("loki", full), |_| true);
    let request = ExportTraceServiceRequest::decode(&exported.request[..]).expect("can be read");
    let spans = &request.resource_spans[0].scope_spans[0].spans;
    assert_eq!((exported.items, spans.len()), (2, 2));
    assert_eq!(spans[0].parent_span_id, spans[1].span_id);
    assert_eq!(spans[0].trace_id, spans[1].trace_id);
}
