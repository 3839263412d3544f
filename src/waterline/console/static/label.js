// One key a label: p, f, u. The buttons do the same without this.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || /^(INPUT|TEXTAREA)$/.test(event.target.tagName)) return;
  const label = { p: "pass", f: "fail", u: "unsure" }[event.key];
  const button = label && document.querySelector(`#label button[value="${label}"]`);
  if (button) { event.preventDefault(); button.click(); }
});
