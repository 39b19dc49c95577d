// Keeps two things up to date without a reload: a table of door events, and how many doors have confirmed a change.
// Without script both pages show the state at the time they were loaded.
"use strict";

const EVERY_MS = 400;
const MOST_ROWS = 200;

async function ask(path) {
  try {
    const answer = await fetch(path, { cache: "no-store", redirect: "manual" });
    // The session has ended: the page, asked for again, leads to the sign-in and back here.
    if (answer.type === "opaqueredirect") location.reload();
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

function row(event) {
  const made = document.createElement("tr");
  const cell = (text, className) => {
    const one = document.createElement("td");
    one.textContent = text;
    if (className) one.className = className;
    made.append(one);
    return one;
  };
  cell(event.at, "when");
  cell(event.door);
  cell(event.kind);
  const decision = cell("");
  if (event.decision) {
    const chip = document.createElement("span");
    chip.className = `chip ${event.look}`;
    chip.textContent = event.decision;
    decision.append(chip);
  }
  cell(event.reason);
  cell(event.person);
  cell(event.card, "mono");
  return made;
}

async function refreshEvents(table) {
  const body = table.tBodies[0];
  const query = new URLSearchParams({ after: table.dataset.last });
  if (table.dataset.door) query.set("door", table.dataset.door);
  const answer = await ask(`${table.dataset.source}?${query}`);
  for (const event of answer ? answer.events : []) {
    body.prepend(row(event));
    table.dataset.last = String(event.id);
    document.getElementById("events-empty").hidden = true;
  }
  while (body.rows.length > MOST_ROWS) body.lastElementChild.remove();
  setTimeout(refreshEvents, EVERY_MS, table);
}

async function refreshConfirmations(panel) {
  const answer = await ask(panel.dataset.source);
  if (answer) {
    document.getElementById("confirmed-count").textContent = String(answer.confirmed);
    document.getElementById("total-count").textContent = String(answer.total);
    document.getElementById("waiting-doors").textContent = answer.waiting;
    const bar = panel.querySelector("progress");
    bar.max = answer.total || 1;
    bar.value = answer.confirmed;
    panel.dataset.confirmed = String(answer.confirmed);
    if (answer.confirmed >= answer.total) return;
  }
  setTimeout(refreshConfirmations, EVERY_MS, panel);
}

const events = document.getElementById("events");
if (events) refreshEvents(events);
const confirmations = document.getElementById("confirmations");
if (confirmations) refreshConfirmations(confirmations);
