// Keeps the page up to date: asks for /overview every two seconds, and draws the plots.
"use strict";

const INTERVAL = 2000;
const POINTS = 90;
const rates = [];
const medians = [];
const slowest = [];
let last = null;
let paused = false;

const element = (id) => document.getElementById(id);

function cell(row, value) {
  const made = row.insertCell();
  made.textContent = value;
  if (typeof value === "number") made.className = "number";
  else if (value.includes("/")) made.className = "path";
}

// Replace the rows of a table. Text is always set as text: names are never markup.
function fill(id, rows) {
  const body = document.createElement("tbody");
  for (const values of rows) {
    const row = body.insertRow();
    for (const value of values) cell(row, value);
  }
  element(id).tBodies[0].replaceWith(body);
  element(id + "-none").hidden = rows.length > 0;
  element(id).hidden = rows.length === 0;
}

// The upper bound of the bucket that a share of the new responses does not exceed.
function quantile(share, buckets, before) {
  const counts = buckets.map(([bound, count], n) => [bound, count - before[n][1]]);
  const total = counts.reduce((sum, [, count]) => sum + count, 0);
  if (total === 0) return null;
  let seen = 0;
  for (const [bound, count] of counts) {
    seen += count;
    if (seen >= share * total) return bound === null ? 10 : bound;
  }
  return null;
}

function milliseconds(seconds) {
  return seconds === null ? "–" : `${+(seconds * 1000).toPrecision(2)} ms`;
}

function draw(id, values, top) {
  const step = 300 / (POINTS - 1);
  const offset = POINTS - values.length;
  const points = values
    .map((value, n) => [(n + offset) * step, value])
    .filter(([, value]) => value !== null)
    .map(([x, value]) => `${x.toFixed(1)},${(98 - (96 * value) / top).toFixed(1)}`);
  element(id).setAttribute("points", points.join(" "));
}

function add(values, value) {
  values.push(value);
  if (values.length > POINTS) values.shift();
}

function plot(now) {
  if (last !== null && now.pid === last.pid && now.time > last.time) {
    const rate = (now.requests - last.requests) / (now.time - last.time);
    add(rates, rate);
    add(medians, quantile(0.5, now.buckets, last.buckets));
    add(slowest, quantile(0.99, now.buckets, last.buckets));
    const top = Math.max(1, ...rates);
    const slow = Math.max(0.001, ...slowest.map((value) => value ?? 0));
    draw("rate", rates, top);
    draw("median", medians, slow);
    draw("slowest", slowest, slow);
    element("rate-top").textContent = `up to ${top.toFixed(1)}`;
    element("rate-now").textContent = `${rate.toFixed(1)} requests a second`;
    element("time-top").textContent = `up to ${milliseconds(slow)}`;
    element("time-now").textContent =
      `half within ${milliseconds(medians.at(-1))}, ` +
      `99 % within ${milliseconds(slowest.at(-1))}`;
  }
  last = now;
}

function show(now) {
  const health = element("health");
  health.textContent = now.healthy ? "healthy" : "NOT HEALTHY";
  health.className = now.healthy ? "" : "bad";
  const problems = now.problems.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  });
  element("problems").replaceChildren(...problems);
  for (const name of ["uptime", "connections", "subscribers"])
    element(name).textContent = now[name];
  element("known").textContent = now.containers.known;
  element("broken").textContent = now.containers.broken;
  element("sources").textContent = now.sources.join("; ") || "none";
  fill("listeners", now.listeners.map((one) => [
    one.dialect, one.address, (one.listening ? "listening" : "NOT LISTENING")
      + ("sockets" in one ? `, ${one.sockets} sockets, ${one.missing} missing` : ""),
  ]));
  fill("refusals", now.refusals.map((one) => [one.reason, one.container, one.count]));
  fill("faults", now.faults.map((one) => [
    one.line ? `${one.file}:${one.line}` : one.file, one.text,
  ]));
  fill("containers", now.containers.shown.map((one) => [
    one.name, one.document, one.state, one.connections, one.subscribers, one.refusals,
  ]));
  element("more").hidden = now.containers.shown.length >= now.containers.known;
}

async function update() {
  if (!paused) {
    try {
      const response = await fetch("overview", { cache: "no-store" });
      if (!response.ok) throw new Error(`status ${response.status}`);
      const now = await response.json();
      show(now);
      plot(now);
      element("age").textContent = "live";
    } catch (error) {
      element("age").textContent = `no answer from devlxd (${error.message})`;
    }
  }
  setTimeout(update, INTERVAL);
}

element("pause").addEventListener("click", () => {
  paused = !paused;
  element("pause").textContent = paused ? "Continue" : "Pause";
  element("pause").setAttribute("aria-pressed", String(paused));
  element("age").textContent = paused ? "paused" : "live";
});
element("pause").hidden = false;
element("plots").hidden = false;
update();
