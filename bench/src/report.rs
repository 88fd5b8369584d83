//! The tables, in Markdown, so that a run can be pasted into the performance page as it is.
//!
//! The one thing to know: the ratio is the figure that travels: requests per second of one machine say nothing about
//! another.

use std::fmt::Write;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};

use crate::load::{Measurement, Plan};
use crate::server::Memory;

/// One line of a table: the same load on the server and on the bare handler.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) plan: Plan,
    pub(crate) tokenhouse: Measurement,
    pub(crate) bare: Measurement,
}

/// One scenario with all its lines.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) answer_bytes: usize,
    pub(crate) rows: Vec<Row>,
    /// Memory of the server when the last line had been measured.
    pub(crate) memory: Memory,
    /// What the check of the state afterwards found wrong.
    pub(crate) objection: Option<String>,
}

impl Section {
    /// Whether every answer was the expected one and the state is as told.
    pub(crate) fn is_clean(&self) -> bool {
        let failed = |row: &Row| row.tokenhouse.failed() + row.bare.failed() > 0;
        self.objection.is_none() && !self.rows.iter().any(failed)
    }

    /// The section as Markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let mut table = Table::new();
        table.load_preset(ASCII_MARKDOWN);
        table.set_header([
            "connections",
            "tokenhouse req/s",
            "p50 ms",
            "p99 ms",
            "errors",
            "bare req/s",
            "p50 ms",
            "p99 ms",
            "errors",
            "ratio",
        ]);
        for row in &self.rows {
            let mut cells = vec![row.plan.connections.to_string()];
            for measurement in [&row.tokenhouse, &row.bare] {
                cells.push(format!("{:.0}", measurement.requests_per_second()));
                cells.push(milliseconds(measurement, 0.50));
                cells.push(milliseconds(measurement, 0.99));
                cells.push(measurement.failed().to_string());
            }
            cells.push(ratio(&row.tokenhouse, &row.bare));
            table.add_row(cells);
        }
        for column in table.column_iter_mut() {
            column.set_cell_alignment(CellAlignment::Right);
        }

        let mut text = format!("## {}\n\n{table}\n\n", self.title);
        let Memory {
            resident,
            resident_peak,
        } = self.memory;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "Body of the answer: {} bytes. Resident memory of the server afterwards: {}, at most so far: {}.",
            self.answer_bytes,
            mebibytes(resident),
            mebibytes(resident_peak),
        );
        for row in &self.rows {
            for (side, measurement) in [("tokenhouse", &row.tokenhouse), ("bare", &row.bare)] {
                for (what, count) in &measurement.failures {
                    let connections = row.plan.connections;
                    let _ = writeln!(
                        text,
                        "\n**ERROR** {side}, {connections} connections: {count} × {what}"
                    );
                }
            }
        }
        if let Some(objection) = &self.objection {
            let _ = writeln!(text, "\n**ERROR** {objection}");
        }
        text
    }
}

fn ratio(tokenhouse: &Measurement, bare: &Measurement) -> String {
    let of = bare.requests_per_second();
    if of > 0.0 {
        format!("{:.3}", tokenhouse.requests_per_second() / of)
    } else {
        // Nothing was answered: the errors below the table say why.
        "–".to_owned()
    }
}

fn milliseconds(measurement: &Measurement, quantile: f64) -> String {
    if measurement.latencies.is_empty() {
        return "–".to_owned();
    }
    format!("{:.2}", measurement.latency(quantile).as_secs_f64() * 1e3)
}

#[allow(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    fn measurement(answers: u64, micros: u64) -> Measurement {
        let mut measurement = Measurement::new();
        measurement.elapsed = Duration::from_secs(2);
        measurement.latencies.saturating_record_n(micros, answers);
        measurement
    }

    fn section() -> Section {
        Section {
            title: "verify".to_owned(),
            answer_bytes: 95,
            rows: vec![Row {
                plan: Plan {
                    connections: 16,
                    warm_up: Duration::from_secs(1),
                    measured: Duration::from_secs(2),
                },
                tokenhouse: measurement(1_000, 1_500),
                bare: measurement(4_000, 250),
            }],
            memory: Memory {
                resident: 10 << 20,
                resident_peak: 11 << 20,
            },
            objection: None,
        }
    }

    #[test]
    fn a_clean_run_reads_as_measured() {
        let section = section();
        assert!(section.is_clean());
        let text = section.to_markdown();
        let line = text
            .lines()
            .find(|line| line.contains(" 16 "))
            .unwrap_or_default();
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        assert_eq!(
            cells,
            [
                "", "16", "500", "1.50", "1.50", "0", "2000", "0.25", "0.25", "0", "0.250", ""
            ]
        );
        assert!(text.starts_with("## verify\n\n| connections "), "{text}");
        assert!(text.contains("95 bytes"), "{text}");
        assert!(
            text.contains("afterwards: 10.0 MiB, at most so far: 11.0 MiB"),
            "{text}"
        );
        assert!(!text.contains("ERROR"), "{text}");
    }

    #[test]
    fn failures_and_objections_spoil_a_run_and_are_shown() {
        let mut failed = section();
        failed.rows[0].tokenhouse.failures = BTreeMap::from([("status 500".to_owned(), 3)]);
        assert!(!failed.is_clean());
        let text = failed.to_markdown();
        assert!(
            text.contains("**ERROR** tokenhouse, 16 connections: 3 × status 500"),
            "{text}"
        );

        let mut objected = section();
        objected.objection = Some("the state is another".to_owned());
        assert!(!objected.is_clean());
        assert!(
            objected
                .to_markdown()
                .contains("**ERROR** the state is another")
        );
    }

    #[test]
    fn a_bare_handler_that_answered_nothing_gives_no_ratio() {
        let mut section = section();
        section.rows[0].bare = Measurement::new();
        let text = section.to_markdown();
        assert!(
            text.contains("|          0 |      – |      – |      0 |     – |"),
            "{text}"
        );
    }
}
