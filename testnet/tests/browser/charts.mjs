// Opens a page of charts in a real browser, without a network, and fails loudly if anything is not as it should be.
//
//   node charts.mjs FILE CHART...
//
// CHART... are the charts that the page must have, and no others. A chart named `overlay` draws the tree of a
// transaction, which can be chosen. The browser is $CHROMIUM, else Debian's chromium-headless-shell.
import assert from "node:assert/strict";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [file, ...expected] = process.argv.slice(2);
assert.ok(file && expected.length > 0, "usage: node charts.mjs FILE CHART...");
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium-headless-shell";
// In a container the browser is root, which its sandbox does not want to be.
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"], timeout: 60_000 });
try {
  const context = await browser.newContext({ offline: true, colorScheme: "light", viewport: { width: 1200, height: 900 } });
  const page = await context.newPage();
  const trouble = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && trouble.push(message.text()));
  page.on("pageerror", (error) => trouble.push(String(error)));
  page.on("request", (request) => request.url().startsWith("http") && trouble.push(`asks for ${request.url()}`));
  await page.goto(pathToFileURL(resolve(file)).href);

  await everyChartHasMarks(page);
  if (expected.includes("overlay")) await anotherTransactionHasAnotherTree(page);
  await fitsAndHasTwoSchemes(page);
  assert.deepEqual(trouble, [], "the page complains");
  console.log(`${file}: ${expected.length} charts are as they should be`);
} finally {
  await browser.close();
}

async function everyChartHasMarks(page) {
  const charts = await page.$$eval("svg[data-chart]", (all) =>
    all.map((svg) => {
      const text = (id) => svg.querySelector(`#${id}`)?.textContent.trim() ?? "";
      const [title, desc] = svg.getAttribute("aria-labelledby").split(" ").map(text);
      const frame = svg.getBoundingClientRect();
      const marks = [...svg.querySelectorAll("[data-mark]")];
      const beyond = marks.filter((mark) => {
        const box = mark.getBoundingClientRect();
        return box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
      });
      const drawn = marks.filter((mark) => mark.getBoundingClientRect().width + mark.getBoundingClientRect().height > 1);
      return { name: svg.dataset.chart, title, desc, drawn: drawn.length, beyond: beyond.length };
    }),
  );
  assert.deepEqual(charts.map((chart) => chart.name).sort(), [...expected].sort(), "the charts of the page");
  for (const chart of charts) {
    assert.ok(chart.drawn > 0, `${chart.name} has no marks`);
    assert.equal(chart.beyond, 0, `${chart.name} has marks beyond its frame`);
    assert.ok(chart.title && chart.desc, `${chart.name} has no title or no description`);
  }
  const text = await page.evaluate(() => document.documentElement.outerHTML);
  assert.ok(!/="[^"]*\b(NaN|undefined|Infinity)\b/.test(text), "an attribute is no number");
}

/** What is drawn of the tree. */
function tree(page, chart) {
  return page.$eval(`svg[data-chart="${chart}"]`, (svg) => {
    const of = (element, names) => names.map((name) => Number(element.getAttribute(name)));
    return {
      lines: [...svg.querySelectorAll("[data-tree]")].map((line) => ({
        at: of(line, ["x1", "y1", "x2", "y2"]),
        how: `${line.getAttribute("class")} ${line.getAttribute("visibility")}`,
      })),
      nodes: [...svg.querySelectorAll("[data-node]")].map((node) => ({
        at: of(node, ["cx", "cy"]),
        how: `${node.getAttribute("class")} ${node.textContent}`,
      })),
      words: [...svg.querySelectorAll("[data-range]")].map((label) => label.textContent).concat(svg.querySelector("desc").textContent),
    };
  });
}

async function anotherTransactionHasAnotherTree(page) {
  const choices = JSON.parse(await page.$eval("#choices", (script) => script.textContent));
  assert.ok(choices.transactions.length > 1, "there is nothing to choose from");
  const first = String(choices.first);
  assert.equal(await page.$eval("#transaction", (select) => select.value), first, "the median is chosen at first");
  const atFirst = { overlay: await tree(page, "overlay"), times: await tree(page, "times") };
  for (const [number, choice] of choices.transactions.entries()) {
    await page.selectOption("#transaction", String(number));
    for (const chart of ["overlay", "times"]) {
      const now = await tree(page, chart);
      for (const [node, [wait, from]] of choice.nodes.entries()) {
        const line = now.lines[node];
        assert.equal(line.how.endsWith("visible"), from >= 0, `${chart}: the edge to ${node} of ${choice.label}`);
        if (from >= 0) assert.deepEqual(line.at, [...now.nodes[from].at, ...now.nodes[node].at], `${chart}: where it is`);
        const when = wait < 0 ? "never" : `${(wait / 1000).toFixed(3)} ms`;
        assert.ok(now.nodes[node].how.includes(when), `${chart}: ${now.nodes[node].how} for ${when}`);
      }
      assert.equal(now.words.at(-1), choice.label, `${chart}: the description`);
      const same = JSON.stringify(now) === JSON.stringify(atFirst[chart]);
      if (String(number) !== first) assert.ok(!same, `${chart}: ${choice.label} is drawn like the first`);
    }
  }
  // Back at the first, the script must draw what the program had drawn.
  await page.selectOption("#transaction", first);
  for (const chart of ["overlay", "times"]) {
    const [was, now] = [atFirst[chart], await tree(page, chart)];
    for (const kind of ["lines", "nodes"]) {
      assert.deepEqual(now[kind].map((mark) => mark.how), was[kind].map((mark) => mark.how), `${chart}: ${kind}`);
      const off = now[kind].flatMap((mark, n) => mark.at.map((value, k) => Math.abs(value - was[kind][n].at[k])));
      assert.ok(Math.max(...off) < 0.11, `${chart}: ${kind} are ${Math.max(...off)} px off`);
    }
    assert.deepEqual(now.words, was.words, `${chart}: words`);
  }
}

async function fitsAndHasTwoSchemes(page) {
  const background = () => page.$eval("body", (body) => getComputedStyle(body).backgroundColor);
  const light = await background();
  await page.emulateMedia({ colorScheme: "dark" });
  assert.notEqual(await background(), light, "dark is as light as light");
  await page.setViewportSize({ width: 390, height: 800 });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 390, `the page is ${wide} px wide on a screen of 390`);
}
