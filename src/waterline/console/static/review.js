// Optional: keys for whoever reviews many. The form does the same without them.
(() => {
  const form = document.querySelector("form[data-review]");
  if (!form) return;
  const press = (decision) => form.querySelector(`button[value="${decision}"]`)?.click();
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); press("accept"); return; }
    if (event.key === "Escape") { document.activeElement?.blur(); return; }
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
    const field = { e: "contains", i: "turn" + form.dataset.review, r: "reason", t: "tags" }[event.key];
    if (field) { event.preventDefault(); form.querySelector(`[name="${field}"]`)?.focus(); return; }
    const decision = { a: "accept", s: "skip", w: "save" }[event.key];
    if (decision) { event.preventDefault(); press(decision); }
  });
})();
