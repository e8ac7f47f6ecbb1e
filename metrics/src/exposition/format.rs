//! The two formats and who gets which.

/// A format of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Prometheus text 0.0.4.
    #[default]
    Text004,
    /// OpenMetrics 1.0.0 text.
    OpenMetrics100,
}

impl Format {
    /// The format for an `Accept` header (contracts/otlp.md section 3.2). OpenMetrics is given to who asks for it in
    /// version 1.0.0 or in none, and prefers it to text; everybody else gets text.
    pub fn negotiate(accept: Option<&str>) -> Format {
        let (mut text, mut open_metrics) = (0.0_f32, 0.0_f32);
        for range in accept.unwrap_or("*/*").split(',').map(MediaRange::parse) {
            match (range.media_type.as_str(), range.version) {
                ("application/openmetrics-text", None | Some("1.0.0")) => {
                    open_metrics = open_metrics.max(range.quality)
                }
                ("text/plain" | "text/*" | "*/*", _) => text = text.max(range.quality),
                _ => {}
            }
        }
        if open_metrics > 0.0 && open_metrics >= text { Format::OpenMetrics100 } else { Format::Text004 }
    }

    /// The `Content-Type` of a page.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text004 => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics100 => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
            }
        }
    }

    /// Ends a page.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self == Format::OpenMetrics100 {
            out.extend_from_slice(b"# EOF\n");
        }
    }
}

struct MediaRange<'a> {
    media_type: String,
    version: Option<&'a str>,
    quality: f32,
}

impl<'a> MediaRange<'a> {
    fn parse(range: &'a str) -> Self {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or("").to_ascii_lowercase();
        let mut parsed = Self { media_type, version: None, quality: 1.0 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim().to_ascii_lowercase().as_str() {
                "version" => parsed.version = Some(value.trim().trim_matches('"')),
                "q" => parsed.quality = value.trim().parse().unwrap_or(0.0),
                _ => {}
            }
        }
        parsed
    }
}
