"use strict";
// A player for each <figure class="sound">: a button, a line that moves over the pictures, and a click to jump.
// Only one plays at a time. data-seconds is the time that the pictures show; data-from, where it begins in the sound.
const players = new Map();

function makePlayer(figure) {
  const audio = figure.querySelector("audio"), button = figure.querySelector(".play");
  const head = figure.querySelector(".head"), panes = figure.querySelector(".panes");
  const seconds = () => Number(figure.dataset.seconds), from = () => Number(figure.dataset.from || 0);
  const player = {
    audio,
    figure,
    at: () => audio.currentTime,
    play(at) {
      for (const other of players.values()) if (other !== player) other.audio.pause();
      if (at !== undefined) audio.currentTime = at;
      return audio.play();
    },
    toggle() { return audio.paused ? player.play() : audio.pause(); },
    show() {
      const share = Math.min(Math.max((audio.currentTime - from()) / seconds(), 0), 1);
      head.style.left = `${100 * share}%`;
      button.textContent = audio.paused ? "▶ Play" : "❚❚ Pause";
      button.setAttribute("aria-pressed", String(!audio.paused));
      figure.classList.toggle("begun", audio.currentTime > 0 && !audio.ended);
    },
  };
  const follow = () => { player.show(); if (!audio.paused) requestAnimationFrame(follow); };
  for (const event of ["play", "pause", "ended", "seeked"]) audio.addEventListener(event, follow);
  button.addEventListener("click", () => player.toggle());
  panes.addEventListener("click", (event) => {
    const box = panes.getBoundingClientRect();
    player.play(from() + seconds() * (event.clientX - box.left) / box.width);
  });
  players.set(figure, player);
  return player;
}

document.querySelectorAll("figure.sound").forEach(makePlayer);
