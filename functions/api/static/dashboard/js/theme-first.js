// Sets the colours that were chosen earlier before anything is drawn, so that nothing flashes.
try {
  const chosen = localStorage.getItem("sluice.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage is off: the system's own colours it is.
}
