//! `TRACEPARENT` as W3C Trace Context has it (version 00; later ones are read by their first four fields). Pure.

/// A place in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits: of the span that is the parent.
    pub span_id: String,
    flags: String,
}

impl TraceParent {
    /// Reads a header; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.trim().split('-');
        let (version, trace_id, span_id, flags) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let is_hex = |text: &str, len: usize| {
            text.len() == len && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let is_set = |text: &str| text.bytes().any(|b| b != b'0');
        let is_whole = fields.next().is_none() || version != "00";
        let is_valid = is_hex(version, 2)
            && version != "ff"
            && is_hex(trace_id, 32)
            && is_set(trace_id)
            && is_hex(span_id, 16)
            && is_set(span_id)
            && is_hex(flags, 2)
            && is_whole;
        is_valid.then(|| Self { trace_id: trace_id.into(), span_id: span_id.into(), flags: flags.into() })
    }

    /// The same trace with another span as the parent.
    pub fn child(&self, span_id: u64) -> Self {
        // All zeros mean "no span".
        Self { span_id: format!("{:016x}", span_id.max(1)), ..self.clone() }
    }

    /// As a header.
    pub fn to_header(&self) -> String {
        format!("00-{}-{}-{}", self.trace_id, self.span_id, self.flags)
    }
}
