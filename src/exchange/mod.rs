//! Lists in and out of a store: bulk import of opt-outs, export of events.
//!
//! Promises: an import accounts for every row (rows = added + already + invalid + blank), and
//! one bad row never stops the others; what it reports is durable. An export holds exactly the
//! events of its range, and a spreadsheet that opens it runs nothing (no cell begins a formula).
//! Leaves to others: which files, and putting them in place (`cli`).

mod export;
mod guard;
mod import;
mod labels;
mod registry;
#[cfg(feature = "xlsx")]
mod xlsx;

pub use export::{EventWriter, ExportFormat};
pub use guard::{MaxAdded, NoMaxAdded, TooMany};
pub use import::{
    DryRun, ImportError, ImportOptions, ImportReport, ImportTarget, ImportWatch, import,
};
pub use registry::{
    RegistryCounts, RegistryFormat, RegistryImport, RegistryOptions, RegistryRead, RegistryRows,
};
