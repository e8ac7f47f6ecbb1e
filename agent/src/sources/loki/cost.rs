//! What the iterations cost (contracts/loki-mode.md sections 1.4, 1.10 and 2.7).
//!
//! `loki_cost_usd` is the sum over the files of `metrics/efficiency` as the real endpoint adds it up; it may fall when
//! a new run wipes the folder. `Usage` facts are per iteration and only ever added: there a cost of 0 means "not
//! measured", so it is left out, and tokens of the cache are priced too.

use std::collections::BTreeMap;

use muster::clock::WallTime;
use serde::Deserialize;

use super::json::{self, Loose, Object};
use super::state_files::short;
use super::timestamp;

/// USD per million tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Price {
    input: f64,
    output: f64,
}

/// The prices that Loki Mode itself ships, both versions together.
const DEFAULT_PRICES: [(&str, Price); 11] = [
    ("opus", Price { input: 5.0, output: 25.0 }),
    ("sonnet", Price { input: 3.0, output: 15.0 }),
    ("haiku", Price { input: 1.0, output: 5.0 }),
    ("gpt-5.3-codex", Price { input: 1.5, output: 12.0 }),
    ("gemini-3-pro", Price { input: 1.25, output: 10.0 }),
    ("gemini-3-flash", Price { input: 0.1, output: 0.4 }),
    ("fable", Price { input: 10.0, output: 50.0 }),
    ("claude-fable-5", Price { input: 10.0, output: 50.0 }),
    ("gpt-5.6-sol", Price { input: 2.5, output: 20.0 }),
    ("gpt-5.6-terra", Price { input: 1.5, output: 12.0 }),
    ("gpt-5.6-luna", Price { input: 0.5, output: 4.0 }),
];

/// What the real endpoint takes where a price list leaves a rate out.
const MISSING_RATE: Price = Price { input: 3.0, output: 15.0 };
/// What a token read from the cache costs, of an input token's price.
const CACHE_READ_SHARE: f64 = 0.1;
/// What a token written to the cache costs, of an input token's price.
const CACHE_WRITE_SHARE: f64 = 1.25;
/// Most models of a price list.
const MODELS_MAX: usize = 256;

/// Prices by model in lower case.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PriceList(BTreeMap<String, Price>);

impl Default for PriceList {
    fn default() -> Self {
        Self(DEFAULT_PRICES.iter().map(|(model, price)| ((*model).to_owned(), *price)).collect())
    }
}

impl PriceList {
    /// The defaults overlaid with `pricing.json`. `None`: no JSON, and what was known stays.
    pub(super) fn from_file(bytes: &[u8]) -> Option<Self> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Raw {
            models: Object<BTreeMap<String, Object<RawPrice>>>,
        }
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct RawPrice {
            input: Loose,
            output: Loose,
        }
        let raw = json::parse::<Object<Raw>>(bytes)?.0.unwrap_or_default();
        let mut list = Self::default();
        for (model, price) in raw.models.0.unwrap_or_default().into_iter().take(MODELS_MAX) {
            let Some(price) = price.0 else { continue };
            let price = Price {
                input: price.input.as_number().unwrap_or(MISSING_RATE.input),
                output: price.output.as_number().unwrap_or(MISSING_RATE.output),
            };
            list.0.insert(model.to_lowercase(), price);
        }
        Some(list)
    }

    /// The price of exactly this model.
    fn of(&self, model: &str) -> Option<Price> {
        self.0.get(model.to_lowercase().as_str()).copied()
    }

    /// The price that the real endpoint takes: an unknown model costs what `sonnet` does.
    fn of_or_sonnet(&self, model: &str) -> Price {
        self.of(model).or_else(|| self.of("sonnet")).unwrap_or(MISSING_RATE)
    }
}

/// What one file adds to `loki_cost_usd`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Contribution {
    /// Nothing that the real endpoint could add.
    Nothing,
    /// Its `cost_usd`.
    Stated(f64),
    /// No cost, but tokens that can be priced.
    Tokens {
        /// As written.
        model: String,
        /// Input tokens.
        input: f64,
        /// Output tokens.
        output: f64,
    },
}

impl Contribution {
    /// In USD.
    pub(super) fn usd(&self, prices: &PriceList) -> f64 {
        match self {
            Contribution::Nothing => 0.0,
            Contribution::Stated(usd) => *usd,
            Contribution::Tokens { model, input, output } => {
                let price = prices.of_or_sonnet(model);
                input / 1e6 * price.input + output / 1e6 * price.output
            }
        }
    }
}

/// A sum of contributions as the real endpoint rounds it.
pub(super) fn rounded_total(usd: f64) -> f64 {
    // Through decimal digits, as Python rounds: a multiplication would be off in the last place.
    let rounded = format!("{usd:.6}").parse().unwrap_or(0.0);
    if f64::is_finite(rounded) { rounded + 0.0 } else { 0.0 }
}

/// Tokens and cost of one iteration.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Spent {
    /// Uncached input.
    pub input_tokens: u64,
    /// Output.
    pub output_tokens: u64,
    /// Read from the cache.
    pub cache_read_tokens: u64,
    /// Written to the cache.
    pub cache_write_tokens: u64,
    /// What the tool says it cost; `None` when it does not, or says 0.
    pub reported_usd: Option<f64>,
}

impl Spent {
    /// Nothing was measured.
    pub(super) fn is_unknown(&self) -> bool {
        self.tokens() == 0 && self.reported_usd.is_none()
    }

    fn tokens(&self) -> u64 {
        [self.input_tokens, self.output_tokens, self.cache_read_tokens, self.cache_write_tokens]
            .iter()
            .fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// What the tokens cost by the price list; `None` without tokens or without a price of this very model.
    pub(super) fn computed_usd(&self, model: &str, prices: &PriceList) -> Option<f64> {
        if self.tokens() == 0 {
            return None;
        }
        let price = prices.of(model)?;
        let input = self.input_tokens as f64
            + self.cache_read_tokens as f64 * CACHE_READ_SHARE
            + self.cache_write_tokens as f64 * CACHE_WRITE_SHARE;
        Some(input / 1e6 * price.input + self.output_tokens as f64 / 1e6 * price.output)
    }
}

/// USD in the wire's unit; `None` for what no cost can be.
pub(super) fn microusd(usd: f64) -> Option<i64> {
    let micros = (usd * 1e6).round();
    (micros.is_finite() && micros.abs() < 9e18).then_some(micros as i64)
}

/// One file of `metrics/efficiency`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EfficiencyFile {
    /// For the running total.
    pub contribution: Contribution,
    /// The iteration it tells of, if it tells of one.
    pub iteration: Option<IterationRecord>,
}

/// A finished iteration by its efficiency file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct IterationRecord {
    /// Its number.
    pub iteration: u32,
    /// When it was finished.
    pub time: WallTime,
    /// `completed`, `failed`.
    pub failed: Option<bool>,
    /// How long it took.
    pub duration_us: Option<u64>,
    /// The model, as written.
    pub model: String,
    /// Tokens and cost.
    pub spent: Spent,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawEfficiency {
    iteration: Loose,
    #[serde(deserialize_with = "present")]
    model: Option<Loose>,
    duration_ms: Loose,
    status: Loose,
    timestamp: Loose,
    #[serde(deserialize_with = "present")]
    input_tokens: Option<Loose>,
    #[serde(deserialize_with = "present")]
    output_tokens: Option<Loose>,
    cache_read_tokens: Loose,
    cache_creation_tokens: Loose,
    cost_usd: Loose,
}

/// Tells a field that is `null` from one that is not there, as Python's `get` with a default does.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Loose>, D::Error> {
    Loose::deserialize(deserializer).map(Some)
}

/// Parses a file of `metrics/efficiency`. `None`: not the whole file, and what was known of it stays.
pub(super) fn efficiency_file(bytes: &[u8]) -> Option<EfficiencyFile> {
    let Some(raw) = json::parse::<Object<RawEfficiency>>(bytes)?.0 else {
        return Some(EfficiencyFile { contribution: Contribution::Nothing, iteration: None });
    };
    Some(EfficiencyFile { contribution: contribution(&raw), iteration: iteration(&raw) })
}

fn contribution(raw: &RawEfficiency) -> Contribution {
    if raw.cost_usd != Loose::Null {
        return raw.cost_usd.as_float().map_or(Contribution::Nothing, Contribution::Stated);
    }
    let tokens = |field: &Option<Loose>| field.as_ref().map_or(Some(0.0), Loose::as_number);
    let model = match &raw.model {
        None => Some("sonnet"),
        Some(Loose::Text(model)) => Some(model.as_str()),
        Some(_) => None,
    };
    match (model, tokens(&raw.input_tokens), tokens(&raw.output_tokens)) {
        (Some(model), Some(input), Some(output)) => {
            Contribution::Tokens { model: model.to_owned(), input, output }
        }
        _ => Contribution::Nothing,
    }
}

fn iteration(raw: &RawEfficiency) -> Option<IterationRecord> {
    let count = |field: &Option<Loose>| field.as_ref().and_then(Loose::as_count).unwrap_or(0);
    Some(IterationRecord {
        iteration: raw.iteration.as_count().and_then(|n| u32::try_from(n).ok())?,
        time: timestamp::parse(raw.timestamp.as_text())?.time,
        failed: match raw.status.as_text() {
            "completed" => Some(false),
            "failed" => Some(true),
            _ => None,
        },
        duration_us: raw.duration_ms.as_count().and_then(|ms| ms.checked_mul(1000)),
        model: short(raw.model.as_ref().map_or("", Loose::as_text)),
        spent: Spent {
            input_tokens: count(&raw.input_tokens),
            output_tokens: count(&raw.output_tokens),
            cache_read_tokens: raw.cache_read_tokens.as_count().unwrap_or(0),
            cache_write_tokens: raw.cache_creation_tokens.as_count().unwrap_or(0),
            reported_usd: raw.cost_usd.as_float().filter(|usd| *usd != 0.0),
        },
    })
}

/// Parses `metrics/result-cost-<N>.json`, which is the truth of an iteration's cost where it is there.
pub(super) fn result_cost(bytes: &[u8]) -> Option<Spent> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Raw {
        total_cost_usd: Loose,
        input_tokens: Loose,
        output_tokens: Loose,
        cache_read_tokens: Loose,
        cache_creation_tokens: Loose,
    }
    let raw = json::parse::<Object<Raw>>(bytes)?.0?;
    Some(Spent {
        input_tokens: raw.input_tokens.as_count().unwrap_or(0),
        output_tokens: raw.output_tokens.as_count().unwrap_or(0),
        cache_read_tokens: raw.cache_read_tokens.as_count().unwrap_or(0),
        cache_write_tokens: raw.cache_creation_tokens.as_count().unwrap_or(0),
        reported_usd: raw.total_cost_usd.as_float().filter(|usd| *usd != 0.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_is_rounded_as_python_rounds_it() {
        for (sum, rounded) in [
            (0.1 + 0.2, 0.3),
            (2.401_200_000_000_000_4, 2.4012),
            (12_345_678_901_234_567.0, 12_345_678_901_234_568.0),
            (-0.75, -0.75),
            (f64::NAN, 0.0),
        ] {
            assert_eq!(rounded_total(sum), rounded);
        }
    }

    #[test]
    fn a_cost_of_zero_is_unknown_and_a_foreign_model_has_no_price() {
        let file = br#"{"iteration":4,"model":"m","timestamp":"2026-02-20T11:14:30Z","input_tokens":10,"cost_usd":0}"#;
        let record = efficiency_file(file).unwrap().iteration.unwrap();
        assert_eq!(record.spent.reported_usd, None);
        assert!(!record.spent.is_unknown());
        assert_eq!(record.spent.computed_usd("m", &PriceList::default()), None);
        assert_eq!(record.spent.computed_usd("Sonnet", &PriceList::default()), Some(10.0 / 1e6 * 3.0));
    }
}
