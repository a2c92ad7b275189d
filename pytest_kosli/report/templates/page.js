"use strict";
const form = document.getElementById("filter");
const count = document.getElementById("count");
const checks = [...document.querySelectorAll(".check")];
let texts;

function show() {
  const outcome = form.elements.outcome.value;
  const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length) texts ??= checks.map((check) => check.textContent.toLowerCase());
  let shown = 0;
  checks.forEach((check, index) => {
    const fits =
      (!outcome || check.dataset.outcome === outcome) &&
      words.every((word) => texts[index].includes(word));
    check.hidden = !fits;
    shown += fits;
  });
  const all = `${checks.length} ${checks.length === 1 ? "check" : "checks"}`;
  count.textContent = shown === checks.length ? all : `${shown} of ${all}`;
}

let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach((details) => (details.open = true));
});
addEventListener("afterprint", () => closed.forEach((details) => (details.open = false)));

form.addEventListener("input", show);
form.addEventListener("submit", (event) => event.preventDefault());
form.hidden = false;
show();
