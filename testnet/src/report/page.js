// Draws the tree of the chosen transaction in both pictures. What it draws at first is drawn already.
"use strict";
(() => {
  const STEPS = 8;
  const choices = JSON.parse(document.getElementById("choices").textContent);
  const select = document.getElementById("transaction");
  const overlay = document.getElementById("overlay");
  const times = document.getElementById("times");
  const group = times.querySelector("g");
  const left = Number(group.dataset.left);
  const width = Number(group.dataset.width);

  const digits = (step) => {
    const least = Math.min(6, Math.max(0, Math.ceil(-Math.log10(step))));
    const finer = step * 10 ** least;
    return least + (Math.abs(finer - Math.round(finer)) > 1e-6 && least < 6 ? 1 : 0);
  };

  const draw = (picture, choice, x) => {
    const circle = (node) => picture.querySelector(`[data-node="${node}"]`);
    choice.nodes.forEach(([wait], node) => {
      const step = Math.min(STEPS - 1, Math.floor(Math.max(0, wait) * STEPS / Math.max(1, choice.range_us)));
      const kind = wait < 0 ? "never" : node === choice.origin ? "origin" : `t${step}`;
      circle(node).setAttribute("class", `node ${kind}`);
      if (x) circle(node).setAttribute("cx", x(wait));
      const from = choice.nodes[node][1];
      const name = choices.nodes[node];
      const by = from < 0 ? "" : `, from ${choices.nodes[from]}`;
      circle(node).firstElementChild.textContent =
        wait < 0 ? `${name}: never` : `${name}: ${(wait / 1000).toFixed(3)} ms${by}`;
      picture.querySelector(`[data-tree="${node}"]`).setAttribute("class", `tree t${step}`);
    });
    choice.nodes.forEach(([, from], node) => {
      const line = picture.querySelector(`[data-tree="${node}"]`);
      const [start, end] = [circle(from < 0 ? node : from), circle(node)];
      line.setAttribute("x1", start.getAttribute("cx"));
      line.setAttribute("y1", start.getAttribute("cy"));
      line.setAttribute("x2", end.getAttribute("cx"));
      line.setAttribute("y2", end.getAttribute("cy"));
      line.setAttribute("visibility", from < 0 ? "hidden" : "visible");
    });
    const range = choice.range_us / 1000;
    for (const label of picture.querySelectorAll("[data-range]")) {
      label.textContent = (range * Number(label.dataset.range)).toFixed(digits(range / 5));
    }
    picture.querySelector("desc").textContent = choice.label;
  };

  select.addEventListener("change", () => {
    const choice = choices.transactions[Number(select.value)];
    draw(overlay, choice, null);
    draw(times, choice, (wait) => (left + Math.max(0, wait) / Math.max(1, choice.range_us) * width).toFixed(1));
    document.getElementById("facts").textContent =
      `It reached ${choice.reached} of ${choice.nodes.length} nodes, over ${choice.hops} hops at most.`;
  });
})();
