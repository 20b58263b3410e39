//! Charts as SVG: a frame with two axes and marks in it. Colours and letters are those of `page.css`.

use std::fmt::Write;

use super::{axis::Axis, html::escape};

/// Room around the marks, in pixels.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 26.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 48.0;

/// Height of the legend.
const LEGEND: f64 = 22.0;

/// About how wide a letter is.
const LETTER: f64 = 6.6;

/// Colours of series; more than these are told apart by nobody.
pub(crate) const SERIES: usize = 8;

/// A chart in the making.
#[derive(Debug)]
pub(crate) struct Chart {
    name: String,
    title: String,
    width: f64,
    height: f64,
    x: Axis,
    y: Axis,
    marks: String,
    legend: Vec<(String, String)>,
}

impl Chart {
    /// An empty one. `name` names it within the page, `title` for who cannot see it.
    pub(crate) fn new(name: &str, title: &str, x: Axis, y: Axis) -> Self {
        let (width, height) = (520.0, 330.0);
        let (marks, legend) = (String::new(), Vec::new());
        Self { name: name.to_owned(), title: title.to_owned(), width, height, x, y, marks, legend }
    }

    /// Of another size than usual, in pixels.
    pub(crate) fn sized(mut self, width: f64, height: f64) -> Self {
        (self.width, self.height) = (width, height);
        self
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let top = self.top();
        (
            LEFT + self.x.place(x) * (self.width - LEFT - RIGHT),
            self.height - BOTTOM - self.y.place(y) * (self.height - BOTTOM - top),
        )
    }

    fn top(&self) -> f64 {
        TOP + LEGEND
    }

    fn path(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let mut path = String::new();
        for (x, y) in points {
            let (x, y) = self.at(x, y);
            // Writing to a String does not fail, here and below.
            let _ = write!(path, "{x:.1},{y:.1} ");
        }
        path.truncate(path.trim_end().len());
        path
    }

    /// A line through points. A series has one colour and, with a label, a place in the legend.
    pub(crate) fn line(&mut self, series: usize, points: &[(f64, f64)], label: &str) {
        let class = series % SERIES;
        let path = self.path(points.iter().copied());
        let _ = writeln!(self.marks, "<polyline data-mark=\"line\" class=\"line s{class}\" points=\"{path}\"/>");
        if !label.is_empty() {
            self.legend.push((format!("line s{class}"), label.to_owned()));
        }
    }

    /// The area between two heights, each point an x with both.
    pub(crate) fn band(&mut self, series: usize, points: &[(f64, f64, f64)], label: &str) {
        let class = series % SERIES;
        let (low, high) = (points.iter().map(|at| (at.0, at.1)), points.iter().map(|at| (at.0, at.2)));
        let path = self.path(high.chain(low.rev()));
        let _ = writeln!(self.marks, "<polygon data-mark=\"band\" class=\"band s{class}\" points=\"{path}\"/>");
        self.legend.push((format!("band s{class}"), label.to_owned()));
    }

    /// A point, with what it says when it is pointed at.
    pub(crate) fn dot(&mut self, series: usize, x: f64, y: f64, tip: &str) {
        let (class, tip) = (series % SERIES, escape(tip));
        let (x, y) = self.at(x, y);
        let _ = writeln!(
            self.marks,
            "<circle data-mark=\"dot\" class=\"dot s{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.2\"><title>{tip}</title></circle>"
        );
    }

    /// A bar that stands on the axis, one wide.
    pub(crate) fn bar(&mut self, series: usize, x: f64, y: f64, tip: &str) {
        let (class, tip) = (series % SERIES, escape(tip));
        let (left, top) = self.at(x - 0.5, y);
        let (right, bottom) = self.at(x + 0.5, 0.0);
        let gap = (0.2 * (right - left)).min(4.0);
        let _ = writeln!(
            self.marks,
            "<rect data-mark=\"bar\" class=\"bar s{class}\" x=\"{:.2}\" y=\"{top:.1}\" width=\"{:.2}\" height=\"{:.1}\"><title>{tip}</title></rect>",
            left + gap / 2.0,
            right - left - gap,
            bottom - top
        );
    }

    /// A point from which lines lead to both axes, with a word to its left, where a rising curve leaves room.
    pub(crate) fn pin(&mut self, x: f64, y: f64, label: &str) {
        let ((left, bottom), (at, height)) = ((LEFT, self.height - BOTTOM), self.at(x, y));
        let _ = writeln!(
            self.marks,
            "<polyline class=\"guide\" points=\"{left},{height:.1} {at:.1},{height:.1} {at:.1},{bottom}\"/><circle \
             data-mark=\"pin\" class=\"pin\" cx=\"{at:.1}\" cy=\"{height:.1}\" r=\"3.5\"/><text class=\"note\" \
             x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            at - 8.0,
            height - 3.0,
            escape(label)
        );
    }

    /// A line across at a height, in the legend.
    pub(crate) fn level(&mut self, y: f64, label: &str) {
        let (_, y) = self.at(0.0, y);
        let right = self.width - RIGHT;
        let _ = writeln!(
            self.marks,
            "<line data-mark=\"level\" class=\"level\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
        );
        self.legend.push(("level".to_owned(), label.to_owned()));
    }

    /// The picture. `description` says in words what it shows.
    pub(crate) fn svg(&self, description: &str) -> String {
        let mut svg = open(&self.name, self.width, self.height, &self.title, description);
        let (top, bottom, right) = (self.top(), self.height - BOTTOM, self.width - RIGHT);
        for (value, label) in self.y.ticks() {
            let (_, y) = self.at(0.0, value);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text class=\"tick\" \
                 x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 7.0,
                y + 4.0
            );
        }
        for (value, label) in self.x.ticks() {
            let (x, _) = self.at(value, 0.0);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{:.1}\"/><text class=\"tick\" \
                 x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                bottom + 4.0,
                x.min(self.width - label.chars().count() as f64 * LETTER / 2.0),
                bottom + 18.0
            );
        }
        let _ = writeln!(
            svg,
            "<polyline class=\"axis\" points=\"{LEFT},{top} {LEFT},{bottom} {right},{bottom}\"/><text class=\"axis-title\" \
             x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text><text class=\"axis-title\" text-anchor=\"middle\" \
             transform=\"translate(15 {:.1}) rotate(-90)\">{}</text>",
            (LEFT + right) / 2.0,
            self.height - 8.0,
            escape(&self.x.title),
            (top + bottom) / 2.0,
            escape(&self.y.title)
        );
        svg.push_str(&self.marks);
        let mut x = LEFT;
        for (class, label) in &self.legend {
            let y = TOP - 1.0;
            let swatch = if class.starts_with("band") || class.starts_with("bar") {
                format!("<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"18\" height=\"10\"/>", y - 5.0)
            } else {
                format!("<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{:.1}\" y1=\"{y}\" y2=\"{y}\"/>", x + 18.0)
            };
            let _ = writeln!(
                svg,
                "{swatch}<text class=\"legend\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                x + 24.0,
                y + 4.0,
                escape(label)
            );
            x += 24.0 + label.chars().count() as f64 * LETTER + 16.0;
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// Bars that lie, one below the other, each with its name before it and its value behind it.
pub(crate) fn lying_bars(name: &str, title: &str, bars: &[(String, f64, String)], description: &str) -> String {
    const ROW: f64 = 26.0;
    const NAMES: f64 = 150.0;
    const VALUES: f64 = 150.0;
    let (width, height) = (720.0, bars.len() as f64 * ROW + 10.0);
    let most = bars.iter().map(|bar| bar.1).fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = open(name, width, height, title, description);
    for (row, (label, value, text)) in bars.iter().enumerate() {
        let top = row as f64 * ROW + 5.0;
        let long = (width - NAMES - VALUES) * (value / most).clamp(0.0, 1.0);
        let _ = writeln!(
            svg,
            "<text class=\"legend\" x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text><rect data-mark=\"bar\" \
             class=\"bar s0\" x=\"{NAMES}\" y=\"{:.1}\" width=\"{long:.1}\" height=\"{:.1}\"/><text class=\"tick\" \
             x=\"{:.1}\" y=\"{middle:.1}\">{}</text>",
            NAMES - 10.0,
            escape(label),
            top + 4.0,
            ROW - 8.0,
            NAMES + long + 8.0,
            escape(text),
            middle = top + ROW / 2.0 + 4.0
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// The beginning of a picture, with what it is called and shows for who cannot see it.
pub(crate) fn open(name: &str, width: f64, height: f64, title: &str, description: &str) -> String {
    let (name, title, description) = (escape(name), escape(title), escape(description));
    format!(
        "<svg id=\"{name}\" data-chart=\"{name}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{name}-title \
         {name}-desc\" style=\"max-width:{width}px\"><title id=\"{name}-title\">{title}</title><desc \
         id=\"{name}-desc\">{description}</desc>\n"
    )
}
