// Cards in the order of what they show. One is made anew only when that has changed, so that the focus stays where it is.

export function cardsIn(place, idOf, make) {
  const shown = new Map(); // id -> { text, node }
  return (found) => {
    const ids = new Set(found.map(idOf));
    for (const [id, { node }] of shown) {
      if (ids.has(id)) continue;
      node.remove();
      shown.delete(id);
    }
    found.forEach((one, n) => {
      const text = JSON.stringify(one);
      const before = shown.get(idOf(one));
      if (before?.text !== text) {
        const node = make(one);
        const focused = before?.node.contains(document.activeElement);
        before?.node.replaceWith(node);
        if (focused) node.querySelector("button")?.focus();
        shown.set(idOf(one), { text, node });
      }
      const { node } = shown.get(idOf(one));
      if (place.children[n] !== node) place.insertBefore(node, place.children[n] ?? null);
    });
  };
}
