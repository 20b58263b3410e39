//! Progress on standard error; nothing is drawn where that is no terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

/// How often the clock of a bar moves on by itself.
const TICK: Duration = Duration::from_millis(200);

/// See [`bar`].
const BAR: &str = "{msg} [{bar:30}] {pos}/{len} {elapsed}";

/// See [`spinner`].
const SPINNER: &str = "{spinner} {msg} {elapsed}";

/// A bar for a known number of steps.
pub(crate) fn bar(steps: u64, what: &'static str) -> ProgressBar {
    styled(ProgressBar::new(steps), what, BAR)
}

/// A sign of life for work of unknown length.
pub(crate) fn spinner(what: &'static str) -> ProgressBar {
    styled(ProgressBar::new_spinner(), what, SPINNER)
}

fn styled(bar: ProgressBar, what: &'static str, template: &str) -> ProgressBar {
    // A template that does not parse would cost the looks only; the tests see to it that they do.
    let bar = match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    };
    let bar = bar.with_finish(ProgressFinish::AndClear);
    bar.set_message(what);
    bar.enable_steady_tick(TICK);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_parse() {
        for template in [BAR, SPINNER] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
