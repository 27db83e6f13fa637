"use strict";
// The page without a server: charts in the colours of the moment, commands to copy, a table to filter and sort.

const PRINT_PX = 680; // the width of A4 between its margins

const TOOLBAR = {
  displaylogo: false,
  responsive: true,
  // plotly.js 4 has a button that sends the chart to plotly's own server.
  showSendToCloud: false,
  plotlyServerURL: "",
  modeBarButtonsToRemove: ["select2d", "lasso2d"],
  toImageButtonOptions: { filename: document.title, scale: 2 },
};

// A colour is written var(--name) in a figure: what that is depends on light, dark and print.
function painted(value, style) {
  if (typeof value === "string") {
    const name = /^var\((--[\w-]+)\)$/.exec(value);
    return name ? style.getPropertyValue(name[1]).trim() : value;
  }
  if (Array.isArray(value)) return value.map((part) => painted(part, style));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, painted(part, style)]));
}

function draw(width) {
  const style = getComputedStyle(document.documentElement);
  for (const figure of document.querySelectorAll("figure")) {
    const chart = figure.querySelector(".chart");
    const { data, layout } = painted(JSON.parse(figure.querySelector("script.data").textContent), style);
    const wide = Math.max(width ?? 0, chart.dataset.least);
    if (width) Object.assign(layout, { width: wide, autosize: false });
    chart.style.zoom = width ? width / wide : "";
    Plotly.react(chart, data, layout, TOOLBAR);
    if (chart.listens) continue;
    chart.listens = true;
    chart.on("plotly_click", (event) => {
      const command = event.points[0].customdata;
      if (typeof command === "string") copy(command);
    });
  }
}

const dark = matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", () => draw());
addEventListener("beforeprint", () => {
  document.documentElement.classList.add("printing");
  draw(PRINT_PX);
});
addEventListener("afterprint", () => {
  document.documentElement.classList.remove("printing");
  draw();
});

// A page that was opened as a file has no clipboard in some browsers, and may be refused it in others.
async function copy(text, button) {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.style.cssText = "position:fixed;opacity:0";
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
  }
  tell(done ? `copied: ${text}` : `copy it by hand: ${text}`);
  if (!button) return;
  button.textContent = done ? "copied" : "by hand";
  button.classList.toggle("copied", done);
  setTimeout(() => {
    button.textContent = "copy";
    button.classList.remove("copied");
  }, 1500);
}

const told = document.createElement("div");
told.id = "told";
told.setAttribute("role", "status");
document.body.append(told);
function tell(text) {
  told.textContent = text;
  told.classList.add("shown");
  clearTimeout(told.timer);
  told.timer = setTimeout(() => told.classList.remove("shown"), 2500);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.copy) copy(button.dataset.copy, button);
  if (button?.dataset.state) choose(button);
  if (button?.closest("#trials th")) sort(button.closest("th"));
});

const controls = document.querySelector(".controls");
const rows = [...document.querySelectorAll("#trials tbody tr")];
// Read once: the text of 500 rows at each key would be slow.
const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
controls?.querySelector("input").addEventListener("input", filter);

function choose(button) {
  for (const other of controls.querySelectorAll("button")) other.setAttribute("aria-pressed", other === button);
  filter();
}

function filter() {
  const state = controls.querySelector('[aria-pressed="true"]').dataset.state;
  const sought = controls.querySelector("input").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const fits = row.dataset.state.split(" ").includes(state) && sought.every((word) => words.get(row).includes(word));
    row.hidden = !fits;
    shown += fits;
  }
  controls.querySelector("output").textContent = `${shown} of ${rows.length}`;
}

function sort(head) {
  const column = [...head.parentNode.children].indexOf(head);
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (row) => row.children[column].dataset.sort ?? row.children[column].textContent;
  const order = new Intl.Collator("en", { numeric: true });
  const compare = (a, b) => (isNaN(a) || isNaN(b) ? order.compare(a, b) : a - b);
  // What was not measured comes last, whichever way.
  const sorted = [...rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    return x === "" || y === "" ? (x === "") - (y === "") : (down ? -1 : 1) * compare(x, y);
  });
  head.closest("table").tBodies[0].append(...sorted);
}

draw();
if (controls) filter();
