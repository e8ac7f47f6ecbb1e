//! What the invented projects are about. Nothing here names a real person, product or secret.

use std::time::Duration;

/// Phases in their order; the monitor reports them as they come.
pub(super) const PHASES: [&str; 5] = ["BOOTSTRAP", "DISCOVERY", "ARCHITECTURE", "DEVELOPMENT", "QA"];

/// The fixed part of a project's story.
#[derive(Debug)]
pub(in crate::demo) struct Script {
    /// Folder and project name.
    pub(in crate::demo) project: &'static str,
    pub(super) provider: &'static str,
    pub(super) model: &'static str,
    /// US dollars per million tokens, input and output: also millionths of a dollar per token.
    pub(super) price: [u64; 2],
    pub(super) prd: &'static str,
    pub(super) complexity: &'static str,
    pub(super) budget_microusd: u64,
    /// Story time of the first session.
    pub(super) first_start: Duration,
    /// Shortest and longest iteration.
    pub(super) iteration_ms: [u64; 2],
    /// Shortest and longest rest between sessions.
    pub(super) rest_ms: [u64; 2],
    pub(super) tasks: &'static [&'static str],
    pub(super) tool_uses: &'static [&'static str],
    pub(super) subagents: &'static [(&'static str, &'static str)],
}

/// The busy project, which has a DevLoop too.
pub(in crate::demo) const SHOPAPI: Script = Script {
    project: "shopapi",
    provider: "claude",
    model: "sonnet",
    price: [3, 15],
    prd: "docs/prd-shopapi.md",
    complexity: "standard",
    budget_microusd: 4_000_000,
    first_start: Duration::ZERO,
    iteration_ms: [8_000, 18_000],
    rest_ms: [6_000, 12_000],
    tasks: &[
        "Cart total ignores coupons",
        "Add shipping zones",
        "Price rounding for bulk orders",
        "Paginate the order list",
        "Retry failed payment webhooks",
        "Document the tax table",
    ],
    tool_uses: &[
        "Bash: Run unit tests",
        "Read: src/cart.py",
        "Edit: src/pricing.py",
        "Grep: def checkout",
        "TodoWrite: update the plan",
    ],
    subagents: &[
        ("eng-backend", "Coupon engine"),
        ("eng-qa", "Write regression tests"),
        ("ops-sre", "Tune cache"),
        ("eng-database", "Index the orders table"),
    ],
};

/// The slower project, dearer by the token.
pub(in crate::demo) const WEBSHOP: Script = Script {
    project: "webshop",
    provider: "claude",
    model: "opus",
    price: [5, 25],
    prd: "docs/prd-webshop.md",
    complexity: "simple",
    budget_microusd: 10_000_000,
    first_start: Duration::from_secs(7),
    iteration_ms: [20_000, 45_000],
    rest_ms: [40_000, 90_000],
    tasks: &["Product page layout", "Search suggestions", "Checkout form labels", "Dark theme"],
    tool_uses: &["Bash: npm test", "Read: web/app.ts", "Edit: web/cart.ts"],
    subagents: &[("eng-frontend", "Header"), ("eng-qa", "Snapshot tests")],
};
