//! The page around the pictures.

use std::fmt::Write;

/// Letters, colours and places of everything on a page.
const STYLE: &str = include_str!("page.css");

/// Text as it may stand between tags and in quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A whole page that needs nothing else. `body` is HTML.
pub(crate) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<link rel=\"icon\" href=\"data:,\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n{body}</body>\n</html>\n",
        escape(title)
    )
}

/// A picture with what it shows.
#[derive(Debug)]
pub(crate) struct Figure {
    /// One picture or several, as SVG.
    pub(crate) picture: String,
    /// What it shows, in short.
    pub(crate) title: String,
    /// How to read it: HTML.
    pub(crate) caption: String,
    /// Whether it takes the whole width.
    pub(crate) wide: bool,
}

impl Figure {
    /// With its number.
    pub(crate) fn html(&self, number: usize) -> String {
        let wide = if self.wide { " class=\"wide\"" } else { "" };
        format!(
            "<figure{wide}>\n{}<figcaption><b>Figure {number}. {}.</b> {}</figcaption>\n</figure>\n",
            self.picture,
            escape(&self.title),
            self.caption
        )
    }
}

/// A table of text; cells after the first are numbers.
pub(crate) fn table<const N: usize>(
    caption: &str,
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut html = format!("<table>\n<caption>{}</caption>\n<thead><tr>", escape(caption));
    // Writing to a String does not fail.
    for name in head {
        let _ = write!(html, "<th scope=\"col\">{}</th>", escape(name));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        html.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let cell = escape(cell);
            let _ = if column == 0 {
                write!(html, "<th scope=\"row\">{cell}</th>")
            } else {
                write!(html, "<td>{cell}</td>")
            };
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table>\n");
    html
}

/// Names with their values.
pub(crate) fn list(entries: &[(&str, String)]) -> String {
    let mut html = String::from("<dl>\n");
    for (name, value) in entries {
        let _ = writeln!(html, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    }
    html.push_str("</dl>\n");
    html
}
