// Loads modules one after the other, what others need first; returns the last one. Each request may meet a function that
// has yet to be started, and twenty requests at once would start twenty. Browsers keep the files for ever afterwards.
export async function inTurn(names) {
  let last;
  for (const name of names) last = await import(`./${name}.js`);
  return last;
}
