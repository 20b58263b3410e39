//! `report`: the page of a measured run that was kept, and its data for other programs.

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Args;
use starling_node::cli::Failure;

use super::{experiment::NAME, say};
use crate::report::{self, Data, Files};

/// `starling-testnet report`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  starling-testnet measure --keep run && starling-testnet report run
  starling-testnet report run --output report.html --csv deliveries.csv --hgrm latency.hgrm

The page is one file that needs no other and no network. --csv has a line for each delivery: the transaction's short id, \
the node, microseconds since submission, the node it came from and the delay of the shortest path in microseconds. --hgrm \
has the percentiles of latency in milliseconds, as HdrHistogram's tools read them.")]
pub(super) struct Options {
    /// The directory that `measure --keep` was given
    dir: PathBuf,
    /// Where the page goes [default: report.html beside the run's other files]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write all deliveries as CSV, too
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the distribution of latency in HdrHistogram's text format, too
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
}

/// Does it.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let root = report::root_of(&options.dir, NAME)?;
    let Files { document, run, manifest, traces } = Files::read(&root)?;
    let data = Data::new(document, run, &manifest, &traces)
        .with_context(|| format!("the files in {} do not fit together", root.display()))?;
    let output = options.output.clone().unwrap_or_else(|| root.join("report.html"));
    write_page(&output, &data)?;
    for (file, write) in [(&options.csv, report::csv as fn(&Data<'_>, _) -> _), (&options.hgrm, report::hgrm)] {
        if let Some(file) = file {
            written(file, File::create(file).and_then(|file| write(&data, BufWriter::new(file))))?;
        }
    }
    Ok(())
}

/// Writes the page of a run and says where it is.
pub(super) fn write_page(file: &Path, data: &Data<'_>) -> Result<(), Failure> {
    let page = report::page(data)?;
    written(file, fs::write(file, page))?;
    say(format_args!("the report is in {}", file.display()));
    Ok(())
}

fn written(file: &Path, result: io::Result<()>) -> anyhow::Result<()> {
    result.with_context(|| format!("{} cannot be written", file.display()))
}
