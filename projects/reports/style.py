"""Style sheet and script of the page: readable on a phone, light or dark; without the script only sorting is lost."""

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --panel: #f5f6f8; --ink: #1b1e23; --soft: #545b66; --rule: #cdd2da;
  --link: #0b57c4; --good: #17662f; --bad: #a81d12; --warn: #7d4e00;
  --c0: #1f66b1; --c1: #c2410c; --c2: #2c7d32; --c3: #8e3fa8; --c4: #b3213f; --c5: #00748a; --c6: #7a5c00;
  --c7: #5b6472; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171b; --panel: #1e2228; --ink: #e8eaee; --soft: #a9b1bd;
  --rule: #3b424d; --link: #8ab8ff; --good: #7ed795; --bad: #ff9d92; --warn: #f0bd62;
  --c0: #7db4f5; --c1: #ff9d66; --c2: #7fd487; --c3: #d69ceb; --c4: #ff8ea3; --c5: #5fd0e3; --c6: #dcc05a;
  --c7: #b4bcc8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 0 1rem 3rem; max-width: 75rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 1.2rem 0 .3rem; }
h2 { font-size: 1.3rem; margin: 2.4rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; }
p { margin: .4rem 0; } a { color: var(--link); } .soft { color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; border: 1px solid var(--rule); border-radius: .5rem; margin: .6rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .7rem; text-align: left; white-space: nowrap; border-bottom: 1px solid var(--rule); }
tr:last-child > * { border-bottom: 0; } thead th { background: var(--panel); }
.figure { text-align: right; } .sortable th[scope=row] { white-space: normal; min-width: min(14rem, 40vw); }
.narrow { width: fit-content; max-width: 100%; }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; }
th button:hover { text-decoration: underline; } th[aria-sort] button::after { content: ' \\2191'; }
th[aria-sort=descending] button::after { content: ' \\2193'; }
.state { font-weight: 600; } .finished, .tested { color: var(--good); } .unfinished { color: var(--warn); }
.broken { color: var(--bad); }
.problems { border-left: 4px solid var(--warn); background: var(--panel); padding: .5rem .8rem; margin: .6rem 0;
  border-radius: .3rem; } .problems ul { margin: .2rem 0; padding-left: 1.2rem; }
.charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); }
.pictures { display: flex; flex-wrap: wrap; gap: .8rem; align-items: flex-start; }
.pictures figure { flex: 1 1 16rem; max-width: 23.5rem; }
figure { margin: 0; min-width: 0; } figure svg { display: block; width: 100%; height: auto; }
figure.chart { border: 1px solid var(--rule); border-radius: .5rem; padding: .5rem; max-width: 36rem; }
figcaption { font-size: .9rem; margin: .1rem .2rem .3rem; }
.pictures figcaption { color: var(--soft); font-size: .8rem; }
img { display: block; max-width: 100%; height: auto; border-radius: .3rem; }
svg text { font-size: 11px; fill: var(--soft); } .grid { stroke: var(--rule); stroke-width: .7; fill: none; }
.axis { stroke: var(--soft); fill: none; } .line { fill: none; stroke: currentColor; stroke-width: 1.8;
  stroke-linejoin: round; } .dot { fill: currentColor; }
.c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2 { color: var(--c2); } .c3 { color: var(--c3); }
.c4 { color: var(--c4); } .c5 { color: var(--c5); } .c6 { color: var(--c6); } .c7 { color: var(--c7); }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: 0; margin: .5rem 0; list-style: none; }
.legend svg { width: 28px; height: 10px; margin-right: .4rem; vertical-align: middle; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .15rem 1rem; margin: .4rem 0; }
dt { color: var(--soft); max-width: 42vw; overflow-wrap: normal; } dd { margin: 0; }
pre { background: var(--panel); padding: .8rem; border-radius: .5rem; overflow-x: auto; font-size: .85rem; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--link); padding: .2rem 0; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
""".strip()

SCRIPT = """
for (const button of document.querySelectorAll('table.sortable th button')) {
  button.addEventListener('click', () => {
    const head = button.parentElement, body = head.closest('table').tBodies[0];
    const column = [...head.parentElement.children].indexOf(head);
    const down = head.getAttribute('aria-sort') === 'ascending';
    for (const other of head.parentElement.children) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const key = row => row.children[column].dataset.value ?? row.children[column].textContent;
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)], missing = (x === '') - (y === '');
      if (missing) return missing;
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return down ? -order : order;
    });
    body.append(...rows);
  });
}
""".strip()
