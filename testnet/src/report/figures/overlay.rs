//! The way one transaction took: through the overlay, and in time. `page.js` draws them anew for another transaction.

use std::fmt::Write;

use serde::Serialize;

use super::{
    Maybe,
    layout::{Layout, layout},
};
use crate::{
    measure::Journey,
    report::{
        axis::{end, number},
        chart::open,
        data::Data,
        html::{Figure, escape},
    },
};

/// Most transactions that can be chosen.
const MAX_CHOICES: usize = 200;

/// Most pairs of a transaction that can be chosen and a node, which bounds the page: some 16 bytes each.
const MAX_CELLS: usize = 50_000;

/// Colours of times, as in `page.css` and `page.js`.
const STEPS: u64 = 8;

/// Width of the pictures, in pixels.
const WIDTH: f64 = 940.0;

/// Parts of the time axis; its end is such that each is a round number.
const PARTS: u32 = 5;

/// One transaction that can be chosen.
#[derive(Debug, Serialize)]
pub(in crate::report) struct Choice {
    label: String,
    origin: usize,
    /// The end of its time axis.
    range_us: u64,
    /// How many nodes have it, and the longest way in hops.
    reached: usize,
    hops: usize,
    /// By the numbers of the nodes: when it came, in microseconds, and from which; -1 if never, or from none.
    nodes: Vec<(i64, i64)>,
}

/// Those that can be chosen.
#[derive(Debug, Serialize)]
pub(in crate::report) struct Choices {
    nodes: Vec<String>,
    transactions: Vec<Choice>,
    /// The one that is drawn at first.
    first: usize,
}

impl Choices {
    /// Fast and slow ones, evenly spread over all by the time until all nodes had them; incomplete ones come last.
    pub(in crate::report) fn new(data: &Data<'_>) -> Self {
        let mut all: Vec<&Journey<'_>> = data.journeys.iter().collect();
        let last = |journey: &Journey<'_>| journey.arrivals.last().map_or(0, |arrival| arrival.wait_us);
        all.sort_by_key(|journey| (!data.is_complete(journey), last(journey), journey.id));
        let complete = all.iter().filter(|journey| data.is_complete(journey)).count();
        let median = if complete > 0 { (complete - 1) / 2 } else { all.len().saturating_sub(1) / 2 };
        let most = (MAX_CELLS / data.nodes.len()).clamp(1, MAX_CHOICES).min(all.len());
        let mut places: Vec<usize> =
            (0..most).map(|choice| choice * all.len().saturating_sub(1) / (most - 1).max(1)).chain([median]).collect();
        places.sort_unstable();
        places.dedup();
        places.retain(|place| *place < all.len());
        let first = places.iter().position(|place| *place == median).unwrap_or_default();
        let transactions = places.iter().map(|place| choice(data, all[*place], *place == median)).collect();
        let nodes = data.nodes.iter().map(|node| match &node.region {
            Some(region) => format!("{} ({region})", node.name),
            None => node.name.clone(),
        });
        Self { nodes: nodes.collect(), transactions, first }
    }

    /// Whether there are none.
    pub(in crate::report) fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    fn shown(&self) -> Option<&Choice> {
        self.transactions.get(self.first)
    }
}

fn choice(data: &Data<'_>, journey: &Journey<'_>, median: bool) -> Choice {
    let mut nodes = vec![(-1, -1); data.nodes.len()];
    let mut depth = vec![0_usize; data.nodes.len()];
    for arrival in &journey.arrivals {
        let from = arrival.line.from.and_then(|id| data.number(&id)).filter(|from| *from != arrival.node);
        nodes[arrival.node] = (arrival.wait_us as i64, from.map_or(-1, |from| from as i64));
        // Whoever it came from had it before; by a clock that is behind, it may look otherwise.
        depth[arrival.node] = from.map_or(0, |from| depth[from] + 1);
    }
    let last = journey.arrivals.last().map_or(0, |arrival| arrival.wait_us);
    let (reached, ms) = (journey.arrivals.len(), last as f64 / 1000.0);
    let how = if reached == data.nodes.len() {
        format!("all nodes in {ms:.1} ms{}", if median { " (the median)" } else { "" })
    } else {
        format!("only {reached} of {} nodes, in {ms:.1} ms", data.nodes.len())
    };
    Choice {
        label: format!("{}: {how}, from {}", journey.id, data.nodes[journey.origin].name),
        origin: journey.origin,
        range_us: (end(ms.max(0.001)) * 1000.0).round() as u64,
        reached,
        hops: depth.into_iter().max().unwrap_or_default(),
        nodes,
    }
}

/// What chooses the transaction, and what it may choose from, for `page.js`.
pub(in crate::report) fn chooser(choices: &Choices) -> anyhow::Result<String> {
    let mut html = String::from("<p><label for=\"transaction\">Transaction</label> <select id=\"transaction\">\n");
    for (number, choice) in choices.transactions.iter().enumerate() {
        let selected = if number == choices.first { " selected" } else { "" };
        // Writing to a String does not fail, here and below.
        let _ = writeln!(html, "<option value=\"{number}\"{selected}>{}</option>", escape(&choice.label));
    }
    // Within a script only `<` could end it.
    let json = serde_json::to_string(choices)?.replace('<', "\\u003c");
    let _ = writeln!(html, "</select></p>\n<script type=\"application/json\" id=\"choices\">{json}</script>");
    Ok(html)
}

/// The colour of a time.
fn step(wait: i64, range: u64) -> u64 {
    (wait.max(0) as u64 * STEPS / range.max(1)).min(STEPS - 1)
}

/// What a node says when it is pointed at. The same words as in `page.js`.
fn tip(choices: &Choices, choice: &Choice, node: usize) -> String {
    let name = &choices.nodes[node];
    match choice.nodes[node] {
        (wait, _) if wait < 0 => format!("{name}: never"),
        (wait, from) => {
            let from = usize::try_from(from).map(|from| format!(", from {}", choices.nodes[from])).unwrap_or_default();
            format!("{name}: {:.3} ms{from}", wait as f64 / 1000.0)
        }
    }
}

/// The class of a node.
fn class(choice: &Choice, node: usize) -> String {
    match choice.nodes[node].0 {
        wait if wait < 0 => "node never".to_owned(),
        _ if node == choice.origin => "node origin".to_owned(),
        wait => format!("node t{}", step(wait, choice.range_us)),
    }
}

/// The edges of the tree, one element for each node, and the nodes; `at` says where each is. Both pictures have them.
fn tree(svg: &mut String, choices: &Choices, choice: &Choice, radius: f64, at: impl Fn(usize) -> (f64, f64)) {
    for (node, (wait, from)) in choice.nodes.iter().enumerate() {
        let (x, y) = at(node);
        let ((x1, y1), visibility) = match usize::try_from(*from) {
            Ok(from) => (at(from), "visible"),
            Err(_) => ((x, y), "hidden"),
        };
        let _ = writeln!(
            svg,
            "<line data-tree=\"{node}\" data-mark=\"tree\" class=\"tree t{}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x:.1}\" \
             y2=\"{y:.1}\" visibility=\"{visibility}\"/>",
            step(*wait, choice.range_us)
        );
    }
    for node in 0..choice.nodes.len() {
        let (x, y) = at(node);
        let _ = writeln!(
            svg,
            "<circle data-node=\"{node}\" data-mark=\"node\" class=\"{}\" cx=\"{x:.1}\" cy=\"{y:.1}\" \
             r=\"{radius:.1}\"><title>{}</title></circle>",
            class(choice, node),
            escape(&tip(choices, choice, node))
        );
    }
}

/// The overlay with the tree.
pub(super) fn graph(data: &Data<'_>, choices: &Choices) -> Maybe {
    const HEIGHT: f64 = 620.0;
    let Some(choice) = choices.shown() else { return Err("the overlay: there is no transaction to show") };
    let title = "The overlay, and the tree of a transaction";
    let Layout { discs, nodes, node_radius } = layout(data, HEIGHT);
    let left = (WIDTH - HEIGHT) / 2.0;
    let mut svg = open("overlay", WIDTH, HEIGHT, title, &choice.label);
    let _ = writeln!(svg, "<g transform=\"translate({left} 0)\" style=\"{}\">", strokes(data, node_radius, 1.0));
    for disc in discs.iter().filter(|disc| !disc.name.is_empty()) {
        let ((x, y), r) = (disc.centre, disc.radius);
        let _ = writeln!(svg, "<circle class=\"region\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r:.1}\"/>");
    }
    for (from, to) in data.topology.links() {
        let ((x1, y1), (x2, y2)) = (nodes[from], nodes[to]);
        let _ = writeln!(
            svg,
            "<line data-mark=\"link\" class=\"link\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    }
    tree(&mut svg, choices, choice, node_radius, |node| nodes[node]);
    for disc in discs.iter().filter(|disc| !disc.name.is_empty()) {
        let (x, y) = disc.centre;
        let middle = HEIGHT / 2.0;
        let (anchor, x) = match x - middle {
            off if off > 60.0 => ("start", x + disc.radius + 8.0),
            off if off < -60.0 => ("end", x - disc.radius - 8.0),
            _ => ("middle", x),
        };
        let y = match (anchor, y < middle) {
            ("middle", true) => y - disc.radius - 8.0,
            ("middle", false) => y + disc.radius + 18.0,
            _ => y + 4.0,
        };
        let _ = writeln!(
            svg,
            "<text class=\"place\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
            escape(&disc.name)
        );
    }
    svg.push_str("</g>\n");
    scale(&mut svg, choice, HEIGHT);
    svg.push_str("</svg>\n");
    Ok(Figure {
        picture: svg,
        title: title.to_owned(),
        caption: format!(
            "Every node with its links (thin), {}. Thick lines lead from each node to those that first had the transaction \
             from it, coloured by when; the ringed node is the one it entered at. <span id=\"facts\">{}</span>",
            if data.wan { "each region a disc, near ones next to each other" } else { "in the order of their numbers" },
            facts(choice)
        ),
        wide: true,
    })
}

/// What the chosen transaction did. The same words as in `page.js`.
fn facts(choice: &Choice) -> String {
    format!("It reached {} of {} nodes, over {} hops at most.", choice.reached, choice.nodes.len(), choice.hops)
}

/// How wide lines are: the more of them, the thinner. `page.css` draws links, the tree and the rims of nodes so.
fn strokes(data: &Data<'_>, radius: f64, of_tree: f64) -> String {
    let among = |lines: usize| 16.0 / (lines.max(1) as f64).sqrt();
    let thin = among(data.topology.links().count()).clamp(0.15, 0.8);
    let thick = among(data.nodes.len()).clamp(0.7, 2.2) * of_tree;
    format!("--thin:{thin:.2};--thick:{thick:.2};--rim:{:.2};--ring:{:.2}", radius * 0.11, radius * 0.4)
}

/// Which colour is which time.
fn scale(svg: &mut String, choice: &Choice, height: f64) {
    const CELL: f64 = 20.0;
    let top = height - 40.0;
    for step in 0..STEPS {
        let x = 8.0 + step as f64 * CELL;
        let _ = writeln!(svg, "<rect class=\"key t{step}\" x=\"{x}\" y=\"{top}\" width=\"{CELL}\" height=\"10\"/>");
    }
    let _ = writeln!(
        svg,
        "<text class=\"tick\" x=\"8\" y=\"{y}\">0</text><text class=\"tick\" x=\"{end}\" y=\"{y}\" text-anchor=\"end\" \
         data-range=\"1\">{}</text><text class=\"tick\" x=\"8\" y=\"{}\">time since submission / ms</text>",
        range(choice, 1.0),
        top - 8.0,
        y = top + 24.0,
        end = 8.0 + STEPS as f64 * CELL
    );
}

/// A part of the time axis in milliseconds. The same words as in `page.js`.
fn range(choice: &Choice, part: f64) -> String {
    let ms = choice.range_us as f64 / 1000.0;
    number(ms * part, ms / f64::from(PARTS))
}

/// The tree in time.
pub(super) fn times(data: &Data<'_>, choices: &Choices) -> Maybe {
    const LEFT: f64 = 190.0;
    const RIGHT: f64 = 24.0;
    const TOP: f64 = 12.0;
    const BOTTOM: f64 = 46.0;
    let Some(choice) = choices.shown() else { return Err("the tree in time: there is no transaction to show") };
    let title = "The same transaction in time";
    let count = data.nodes.len();
    let row = (900.0 / count as f64).clamp(1.5, 17.0);
    let height = TOP + BOTTOM + row * count as f64;
    let (bottom, end) = (height - BOTTOM, WIDTH - RIGHT);
    // Rows by region; which row a node has.
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|node| (&data.nodes[*node].region, *node));
    let mut rows = vec![0; count];
    for (row, node) in order.iter().enumerate() {
        rows[*node] = row;
    }
    let y = |node: usize| TOP + (rows[node] as f64 + 0.5) * row;
    let x = |wait: i64| LEFT + wait.max(0) as f64 / choice.range_us.max(1) as f64 * (end - LEFT);
    let mut svg = open("times", WIDTH, height, title, &choice.label);
    let radius = (row * 0.32).clamp(1.5, 5.0);
    let _ = writeln!(
        svg,
        "<g data-left=\"{LEFT}\" data-width=\"{}\" style=\"{}\">",
        end - LEFT,
        strokes(data, radius, 0.65)
    );
    for part in 0..=PARTS {
        let share = f64::from(part) / f64::from(PARTS);
        let at = LEFT + share * (end - LEFT);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/><text class=\"tick\" x=\"{at:.1}\" \
             y=\"{:.1}\" text-anchor=\"middle\" data-range=\"{share}\">{}</text>",
            bottom + 4.0,
            bottom + 18.0,
            range(choice, share)
        );
    }
    for (position, node) in order.iter().enumerate() {
        let node_of = &data.nodes[*node];
        let new = position == 0 || data.nodes[order[position - 1]].region != node_of.region;
        if new && position > 0 {
            let top = TOP + position as f64 * row;
            let _ = writeln!(svg, "<line class=\"grid\" x1=\"8\" x2=\"{end}\" y1=\"{top:.1}\" y2=\"{top:.1}\"/>");
        }
        if let (true, Some(region)) = (new, &node_of.region) {
            let _ =
                writeln!(svg, "<text class=\"place\" x=\"8\" y=\"{:.1}\">{}</text>", y(*node) + 4.0, escape(region));
        }
        if row >= 11.0 {
            let _ = writeln!(
                svg,
                "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 10.0,
                y(*node) + 4.0,
                escape(&node_of.name)
            );
        }
    }
    tree(&mut svg, choices, choice, radius, |node| (x(choice.nodes[node].0), y(node)));
    let _ = writeln!(
        svg,
        "</g>\n<polyline class=\"axis\" points=\"{LEFT},{TOP} {LEFT},{bottom} {end},{bottom}\"/><text class=\"axis-title\" \
         x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">time since submission / ms</text></svg>",
        (LEFT + end) / 2.0,
        height - 6.0
    );
    Ok(Figure {
        picture: svg,
        title: title.to_owned(),
        caption: "One row for each node; the dot is when its pool took the transaction, the line begins when the node it came \
                  from had it. A long line is a long way, or a copy that did not come at once."
            .to_owned(),
        wide: true,
    })
}
