"use strict";

// The nearest mark of a chart tells its figures: to a pointer, to a finger, and to the arrow keys.
const REACH = 40; // px

function tell(chart, tip, marks, mark) {
  marks.forEach((it) => it.classList.toggle("near", it === mark));
  tip.textContent = mark ? mark.dataset.tip : "";
  if (!mark) return;
  const at = mark.getBoundingClientRect(), frame = chart.getBoundingClientRect();
  const left = at.left + at.width / 2 - frame.left - tip.offsetWidth / 2;
  tip.style.left = `${Math.max(0, Math.min(left, frame.width - tip.offsetWidth))}px`;
  tip.style.top = `${at.top - frame.top - tip.offsetHeight - 6}px`;
}

function distance(event, mark) {
  const at = mark.getBoundingClientRect();
  const x = Math.max(at.left - event.clientX, 0, event.clientX - at.right);
  const y = Math.max(at.top - event.clientY, 0, event.clientY - at.bottom);
  return at.width ? Math.hypot(x, y) : Infinity; // a mark of a hidden series has no place
}

function nearest(event, marks) {
  let found = null, least = REACH;
  for (const mark of marks) {
    const away = distance(event, mark);
    if (away < least) [found, least] = [mark, away];
  }
  return found;
}

const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

function step(event, marks, now) {
  if (event.key === "Escape") return null;
  if (!(event.key in STEPS)) return undefined;
  event.preventDefault();
  const seen = marks.filter((it) => it.getBoundingClientRect().width);
  const start = STEPS[event.key] > 0 ? -1 : seen.length;
  const next = (now ? seen.indexOf(now) : start) + STEPS[event.key];
  return seen[Math.max(0, Math.min(next, seen.length - 1))];
}

for (const chart of document.querySelectorAll(".chart")) {
  const marks = [...chart.querySelectorAll("[data-tip]")];
  if (!marks.length) continue;
  const tip = document.createElement("p");
  tip.className = "tip";
  tip.setAttribute("role", "status");
  chart.append(tip);
  chart.tabIndex = 0;
  chart.setAttribute("role", "group");
  chart.setAttribute("aria-label", "Chart; the arrow keys read its figures");
  let now = null;
  const show = (mark) => { now = mark; tell(chart, tip, marks, mark); };
  chart.addEventListener("pointermove", (event) => show(nearest(event, marks)));
  chart.addEventListener("pointerleave", () => show(null));
  chart.addEventListener("blur", () => show(null));
  chart.addEventListener("keydown", (event) => {
    const next = step(event, marks, now);
    if (next !== undefined) show(next);
  });
}

// A series of a chart can be hidden: its name becomes a switch.
for (const legend of document.querySelectorAll(".legend")) {
  const chart = legend.nextElementSibling, off = new Set();
  for (const item of legend.children) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...item.childNodes);
    button.setAttribute("aria-pressed", "true");
    item.append(button);
    button.addEventListener("click", () => {
      const series = item.dataset.series;
      off.delete(series) || off.add(series);
      button.setAttribute("aria-pressed", String(!off.has(series)));
      chart.dataset.off = [...off].join(" ");
    });
  }
}

// Only a table that is wider than its frame needs a stop of its own: there the arrow keys scroll it.
const frames = new ResizeObserver((changes) => {
  for (const { target: it } of changes) it.tabIndex = it.scrollWidth > it.clientWidth || it.scrollHeight > it.clientHeight ? 0 : -1;
});
document.querySelectorAll(".scroll").forEach((it) => frames.observe(it));

// A clip waits behind its still, which lies beside it for paper: twice in the page it would weigh twice.
for (const still of document.querySelectorAll("video + .still")) still.previousElementSibling.poster = still.src;

// The contents say which section is being read.
const links = new Map([...document.querySelectorAll("nav a")].map((it) => [it.hash.slice(1), it]));
const inSight = new Set();
const watch = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) inSight[isIntersecting ? "add" : "delete"](target.id);
  const first = [...links.keys()].find((name) => inSight.has(name));
  for (const [name, link] of links) name === first ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
}, { rootMargin: "-10% 0px -60% 0px" });
document.querySelectorAll("main section").forEach((it) => watch.observe(it));
