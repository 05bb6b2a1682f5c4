"use strict";
// A click on a column's head sorts the table by it; a second click turns it round. Empty cells stay last.
for (const button of document.querySelectorAll("table.sortable thead button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const place = [...head.parentNode.children].indexOf(head);
    const body = head.closest("table").tBodies[0];
    const first = head.classList.contains("number") ? "descending" : "ascending";
    const other = first === "descending" ? "ascending" : "descending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    for (const each of head.parentNode.children) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const key = (row) => row.children[place].dataset.sort ?? row.children[place].textContent.trim();
    const empty = (value) => value === "" || value === "–";
    const rows = [...body.rows].map((row) => [key(row), row]);
    const numeric = rows.every(([value]) => empty(value) || !Number.isNaN(Number(value)));
    rows.sort(([a], [b]) => {
      if (empty(a) || empty(b)) return empty(a) - empty(b);
      return sign * (numeric ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true }));
    });
    body.append(...rows.map(([, row]) => row));
  });
}
// What is folded is printed, too.
window.addEventListener("beforeprint", () => {
  for (const each of document.querySelectorAll("details")) each.open = true;
});
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
// Links lead into what is folded.
const unfold = () => {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const inner = target && target.querySelector(":scope > details");
  if (inner) inner.open = true;
  for (let each = target && target.closest("details"); each; each = each.parentElement.closest("details")) each.open = true;
};
window.addEventListener("hashchange", unfold);
unfold();
// A mark and the rows of its arm light up together; what a mark says is shown beside it.
const tip = document.body.appendChild(document.createElement("div"));
tip.className = "tip";
tip.setAttribute("aria-hidden", "true");
tip.hidden = true;
const lit = (arm) => {
  tip.hidden = true;
  for (const each of all(".lit, .dim")) each.classList.remove("lit", "dim");
  if (arm === undefined) return;
  for (const each of all("[data-arm]")) if (each.dataset.arm === arm) each.classList.add("lit");
  for (const svg of all("svg")) if (svg.querySelector(".mark.lit")) svg.classList.add("dim");
};
const enter = (event) => {
  const found = event.target.closest && event.target.closest("[data-arm]");
  lit(found ? found.dataset.arm : undefined);
  if (!found || !found.classList.contains("mark")) return;
  tip.hidden = false;
  tip.textContent = found.getAttribute("aria-label");
  const box = found.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(box.right + 10, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${Math.max(8, box.top - tip.offsetHeight - 6)}px`;
};
for (const name of ["pointerover", "focusin"]) document.addEventListener(name, enter);
document.addEventListener("focusout", () => lit());
document.addEventListener("keydown", (event) => event.key === "Escape" && lit());
for (const svg of all("svg")) {
  const marks = all(".mark", svg);
  for (const mark of marks) {
    const title = mark.querySelector("title");
    mark.setAttribute("aria-label", title.textContent);
    title.remove();
  }
  // One stop a picture; arrows go from mark to mark.
  if (marks.length) marks[0].setAttribute("tabindex", "0");
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const next = step && marks[marks.indexOf(document.activeElement) + step];
    if (!step) return;
    event.preventDefault();
    if (!next) return;
    document.activeElement.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  });
  // The keys of the legend hide and show the marks of a method.
  for (const key of all("[data-key]", svg)) {
    key.setAttribute("role", "button");
    key.setAttribute("tabindex", "0");
    key.setAttribute("aria-pressed", "true");
    const toggle = () => {
      const shown = key.getAttribute("aria-pressed") !== "true";
      key.setAttribute("aria-pressed", String(shown));
      for (const each of all(`[data-family="${key.dataset.key}"]`, svg)) each.toggleAttribute("hidden", !shown);
    };
    key.addEventListener("click", toggle);
    key.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      toggle();
    });
  }
}
