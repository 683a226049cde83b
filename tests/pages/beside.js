// Beside a page: `widths` are those of the frames it is opened in, `text` is the page. See ../pages.rs.
const contrast = (one, other) => {
  const light = colour => {
    const [r, g, b] = colour.match(/[\d.]+/g).map(Number).map(part => part / 255)
      .map(part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
};
const behind = (view, element) => {
  for (; element; element = element.parentElement) {
    const colour = view.getComputedStyle(element).backgroundColor;
    if (!/, 0\)$/.test(colour)) return colour;
  }
  return 'rgb(255, 255, 255)';
};
const measure = (frame) => {
  const view = frame.contentWindow, page = frame.contentDocument;
  const marks = [...page.querySelectorAll('.mark')];
  const tried = [...new Set([marks[0], page.querySelector('.mark.broke'), marks.at(-1)])].filter(mark => mark);
  const words = [...page.querySelectorAll('h1, p, td, th, a, li, .span, .name, .axis span')];
  const colours = words.filter(word => word.textContent.trim() !== '')
    .map(word => contrast(view.getComputedStyle(word).color, behind(view, word)));
  return {
    width: page.documentElement.clientWidth,
    scrolls: page.documentElement.scrollWidth,
    scripts: page.scripts.length,
    hacked: String(view.hacked),
    fetched: view.performance.getEntriesByType('resource').length,
    back: view.getComputedStyle(page.body).backgroundColor,
    contrast: Math.min(...colours),
    marks: marks.length,
    reached: marks.filter(mark => mark.tabIndex === 0).length,
    cells: [...page.querySelectorAll('td[title]')].map(cell => {
      page.activeElement.blur();
      const before = view.getComputedStyle(cell, '::after').content;
      cell.focus();
      const after = view.getComputedStyle(cell, '::after');
      return {
        focused: page.activeElement === cell, before,
        says: after.content === JSON.stringify(cell.title) && after.position === 'fixed',
        colour: contrast(after.color, after.backgroundColor),
      };
    }).filter(cell => !(cell.focused && cell.says && cell.before === 'none' && cell.colour >= 4.5)),
    titled: page.querySelectorAll('td[title]').length,
    boxes: [...page.querySelectorAll('.scroll')].filter(box => box.tabIndex !== 0).length,
    hover: [...page.styleSheets].flatMap(sheet => [...sheet.cssRules])
      .some(rule => rule.selectorText === '.mark:hover .tip, .mark:focus .tip'),
    lead: [...page.querySelectorAll('a[href^="#"]')]
      .filter(link => !page.getElementById(link.getAttribute('href').slice(1))).length,
    tips: tried.map(mark => {
      const tip = mark.querySelector('.tip');
      page.activeElement.blur();
      const before = tip.getBoundingClientRect().width;
      mark.focus();
      const place = tip.getBoundingClientRect();
      const colour = contrast(view.getComputedStyle(tip).color, behind(view, tip));
      return {
        focused: page.activeElement === mark, before, colour, text: tip.innerText,
        inside: place.left >= 0 && place.right <= view.innerWidth && place.bottom <= view.innerHeight + 1
          && place.width > 300 && place.height > 30,
      };
    }),
  };
};
const found = [];
let open = widths.length;
for (const width of widths) {
  const frame = document.createElement('iframe');
  frame.width = width; frame.height = 700; frame.style.border = '0';
  frame.onload = () => {
    try { found.push(measure(frame)); } catch (error) { found.push({ error: String(error) }); }
    open -= 1;
    if (open === 0) {
      document.body.replaceChildren();
      document.body.append('FOUND' + encodeURIComponent(JSON.stringify(found)) + 'END');
    }
  };
  frame.srcdoc = text;
  document.body.append(frame);
}
