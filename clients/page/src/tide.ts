/** The band under the header: it moves on when an event comes, and only then. */
const shift = 26; // px for each event, of the nearer wave
const most = 10; // drops at a time: a flood of events is a wave, not a load

let moved = 0;
let seen = 0;
let drops = 0;
let drawing = false;

export function pulse(): void {
  seen += 1;
  moved += 1;
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(draw);
}

function draw(): void {
  drawing = false;
  const band = document.querySelector<HTMLElement>('.tide');
  if (band === null) return;
  band.style.setProperty('--moved', `${moved * shift}px`);
  const count = band.querySelector('.count');
  if (count !== null) count.textContent = `${seen.toLocaleString('en')} ${seen === 1 ? 'event' : 'events'}`;
  if (drops >= most || matchMedia('(prefers-reduced-motion: reduce)').matches) return;
  const drop = document.createElement('span');
  drop.className = 'drop';
  band.append(drop);
  drops += 1;
  const run = drop.animate(
    [
      { transform: 'translateX(0)', opacity: 0 },
      { opacity: 1, offset: 0.1 },
      { opacity: 1, offset: 0.9 },
      { transform: `translateX(${band.clientWidth}px)`, opacity: 0 },
    ],
    { duration: 1_600, easing: 'cubic-bezier(.35,.1,.5,1)' },
  );
  run.onfinish = () => {
    drop.remove();
    drops -= 1;
  };
}
