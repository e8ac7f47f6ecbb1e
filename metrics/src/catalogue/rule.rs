//! Rules from events, and which of them an event wakes.

use std::sync::LazyLock;

use muster::v1;
use muster::v1::event::Kind;

use super::{FamilyId, family_ids};
use crate::aggregate::Fact;

macro_rules! kinds {
    ($($kind:ident,)*) => {
        /// What one kind of event does to a family.
        #[derive(Debug, Clone, Copy)]
        pub enum Rule {
            $(
                #[doc = concat!("On `", stringify!($kind), "`.")]
                $kind(fn(&v1::$kind, &mut Fact<'_>)),
            )*
        }

        /// Kinds of event, as indexes of tables.
        enum Number { $($kind,)* Count }

        impl Rule {
            /// Name of the event in `event.proto`.
            pub fn event_name(self) -> &'static str {
                match self { $(Rule::$kind(_) => stringify!($kind),)* }
            }

            fn number(self) -> usize {
                match self { $(Rule::$kind(_) => Number::$kind as usize,)* }
            }

            /// Runs it if `kind` is its kind.
            pub(crate) fn run(self, kind: &Kind, fact: &mut Fact<'_>) {
                match (self, kind) {
                    $((Rule::$kind(state), Kind::$kind(event)) => state(event, fact),)*
                    _ => {}
                }
            }
        }

        fn number_of(kind: &Kind) -> usize {
            match kind { $(Kind::$kind(_) => Number::$kind as usize,)* }
        }
    };
}

kinds! {
    RunFinished, RunStarted, ToolState, SessionState, QueueDepth, TaskCounts, WorkerCounts, Finding, ActiveFindings,
    FileActivity, FilesWatched, PushChecked, Usage, CostTotal, ToolCall, ResourceSample, TimeSaved, SourceHealth,
    LogRecord, OtlpPayload, LinesRecorded, BusEvents, SourceEnded, BudgetState, ToolSettings, FindingsFixed,
}

/// Tools that have families of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToolClass {
    Loki,
    DevLoop,
    Other,
}

impl ToolClass {
    pub(crate) fn of(tool: &str) -> Self {
        match tool {
            "loki" => Self::Loki,
            "devloop" => Self::DevLoop,
            _ => Self::Other,
        }
    }
}

/// The rules of every kind of event and class of tool, in catalogue order.
pub(crate) struct Dispatch {
    rules: Vec<[Vec<(FamilyId, Rule)>; 3]>,
}

impl Dispatch {
    /// The table of the whole catalogue.
    pub(crate) fn get() -> &'static Self {
        static DISPATCH: LazyLock<Dispatch> = LazyLock::new(Dispatch::build);
        &DISPATCH
    }

    /// The rules that `kind` from a tool of `class` wakes.
    pub(crate) fn rules(&self, kind: &Kind, class: ToolClass) -> &[(FamilyId, Rule)] {
        &self.rules[number_of(kind)][class as usize]
    }

    fn build() -> Self {
        let mut rules = vec![<[Vec<_>; 3]>::default(); Number::Count as usize];
        for id in family_ids() {
            for &rule in id.family().rules {
                for class in [ToolClass::Loki, ToolClass::DevLoop, ToolClass::Other] {
                    if id.family().tool.is_none_or(|tool| ToolClass::of(tool) == class) {
                        rules[rule.number()][class as usize].push((id, rule));
                    }
                }
            }
        }
        Self { rules }
    }
}
