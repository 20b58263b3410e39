//! The report of a measured run: one HTML file that needs nothing else, and the same data for other programs.
//!
//! [`Run`] is what is kept of a run beside manifest, traces and figures; [`Data`] is all of it together. Each of
//! `figures` makes a picture of it, with [`Chart`] and [`Axis`], which the simulator's timelines are drawn with, too.

mod axis;
mod chart;
mod data;
mod export;
mod facts;
mod figures;
mod html;
mod kept;
#[cfg(test)]
mod tests;

use self::figures::Choices;
pub(crate) use self::{
    axis::Axis,
    chart::{Chart, SERIES},
    data::{Data, Files},
    export::{csv, hgrm},
    html::{escape, page as html_page},
    kept::{Run, root_of},
};

/// Chooses the transaction of which the tree is drawn.
const SCRIPT: &str = include_str!("page.js");

/// The page of a run.
pub(crate) fn page(data: &Data<'_>) -> anyhow::Result<String> {
    let choices = Choices::new(data);
    let (mut number, mut missing) = (0, Vec::new());
    let mut show = |figures: Vec<Result<html::Figure, &'static str>>| {
        let mut html = String::from("<div class=\"figures\">\n");
        for figure in figures {
            match figure {
                Ok(figure) => {
                    number += 1;
                    html.push_str(&figure.html(number));
                }
                Err(why) if missing.contains(&why) => {}
                Err(why) => missing.push(why),
            }
        }
        html + "</div>\n"
    };
    let of_all = show(figures::of_all(data));
    let of_one = show(figures::of_one(data, &choices));
    let one = if choices.is_empty() {
        String::new()
    } else {
        format!(
            "<h2>One transaction</h2>\n<div class=\"chooser\">\n{}</div>\n{of_one}<script>\n{SCRIPT}</script>\n",
            figures::chooser(&choices)?
        )
    };
    let missing: Vec<String> = missing.iter().map(|why| format!("<p>Not shown is {}.</p>\n", escape(why))).collect();
    let body = format!(
        "{}<h2>Figures</h2>\n{of_all}{}{one}<h2>The run</h2>\n{}",
        facts::head(data),
        missing.concat(),
        facts::run(data)
    );
    Ok(html_page(&facts::title(data), &body))
}
