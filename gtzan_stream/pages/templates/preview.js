// The preview: a card for each clip, with the untouched crop and the one that the menu chooses.
const data = JSON.parse(document.getElementById("data").textContent);
const cards = [];
let entry = 0, strength = 0, current = 0;

function fill(player, name, crop) {
  const { figure, audio } = player, wasPlaying = !audio.paused, at = audio.currentTime;
  figure.querySelector(".name").textContent = name;
  figure.querySelector(".wave path").setAttribute("d", crop.path);
  figure.querySelector(".heat img").src = crop.picture;
  figure.querySelector(".words").textContent = crop.words;
  if (audio.src === crop.sound) return;
  audio.src = crop.sound;
  audio.currentTime = at;
  if (wasPlaying) player.play(at);
}

function chosenName() {
  return `${data.menu[entry].name}/${data.menu[entry].strengths[strength]}`;
}

function show() {
  const choice = data.menu[entry];
  strength = Math.min(strength, choice.strengths.length - 1);
  for (const card of cards) {
    const crop = card.clip.crops[chosenName()] || card.clip.crops["untouched/"];
    fill(card.augmented, choice.name, crop);
  }
  document.querySelectorAll("#recipes button, #transforms button").forEach((button) =>
    button.setAttribute("aria-pressed", String(Number(button.dataset.entry) === entry)));
  const row = document.getElementById("strengths");
  row.replaceChildren(...choice.strengths.map((name, i) => {
    const button = makeButton(parameters(choice, name), () => { strength = i; show(); });
    button.setAttribute("aria-pressed", String(i === strength));
    button.disabled = choice.strengths.length < 2;
    return button;
  }));
}

// What a strength means: the parameters that are drawn at it, such as "rate=0.9".
function parameters(choice, name) {
  if (choice.group === "recipe") return "as drawn";
  const crop = data.clips.map((clip) => clip.crops[`${choice.name}/${name}`]).find(Boolean);
  const inside = crop && crop.words.match(/\(([^)]+)\)/);
  return inside ? inside[1] : "no parameter";
}

function makeButton(text, act) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.addEventListener("click", act);
  return button;
}

function select(number, scroll) {
  current = Math.max(0, Math.min(number, cards.length - 1));
  cards.forEach((card, i) => card.section.classList.toggle("current", i === current));
  if (scroll) cards[current].section.scrollIntoView({ block: "nearest" });
}

for (const clip of data.clips) {
  const section = document.getElementById("clip").content.cloneNode(true).querySelector("section");
  section.querySelector("h3").textContent = `${clip.label}: ${clip.key}, crop ${clip.crop}, from ${clip.start_s} s`;
  section.querySelector(".gain").textContent = clip.gain;
  document.getElementById("clips").append(section);
  const [untouched, augmented] = [...section.querySelectorAll("figure")].map(makePlayer);
  const card = { clip, section, untouched, augmented };
  fill(untouched, "untouched", { ...clip.crops["untouched/"], words: "" });
  section.addEventListener("pointerdown", () => select(cards.indexOf(card)));
  cards.push(card);
}
data.menu.forEach((choice, i) => {
  const button = makeButton(choice.name, () => { entry = i; show(); });
  button.dataset.entry = i;
  document.getElementById(`${choice.group}s`).append(button);
});
show();
select(0);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const card = cards[current], playing = [card.untouched, card.augmented].find((player) => !player.audio.paused);
  const act = {
    " ": () => (playing || card.augmented).toggle(),
    x: () => {
      const from = playing || card.augmented, to = from === card.augmented ? card.untouched : card.augmented;
      to.play(from.at());
    },
    ArrowDown: () => select(current + 1, true),
    ArrowUp: () => select(current - 1, true),
    ArrowRight: () => { entry = (entry + 1) % data.menu.length; show(); },
    ArrowLeft: () => { entry = (entry + data.menu.length - 1) % data.menu.length; show(); },
    1: () => { strength = 0; show(); },
    2: () => { strength = 1; show(); },
    3: () => { strength = 2; show(); },
  }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act || (event.key === " " && event.target.tagName === "BUTTON")) return;
  event.preventDefault();
  act();
});
