// Keeps the page current: fetches it again when the stream of updates says so, and replaces the parts that have an id.
(() => {
  "use strict";
  const script = document.currentScript;
  const status = () => document.getElementById("live");
  let busy = false;

  const say = (text) => { const place = status(); if (place) place.textContent = text; };

  const refresh = async () => {
    if (busy || document.hidden) return;
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
      if (!answer.ok) throw new Error(answer.statusText);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-part]")) {
        const other = fresh.getElementById(part.id);
        // A part in which something has the focus or is selected stays as it is until the next time.
        if (!other || part.contains(document.activeElement) || part.contains(getSelection().anchorNode) && !getSelection().isCollapsed) continue;
        if (other.innerHTML !== part.innerHTML) part.replaceChildren(...other.childNodes);
      }
      say("live");
    } catch {
      say("not reachable; trying again");
    } finally {
      busy = false;
    }
  };

  const follow = () => {
    const stream = new EventSource(script.dataset.live);
    stream.onmessage = refresh;
    stream.onopen = () => say("live");
    stream.onerror = () => {
      say("not reachable; trying again");
      // The browser gives up where the answer is an error: too many pages are open.
      if (stream.readyState === EventSource.CLOSED) {
        setInterval(refresh, 10000);
        refresh();
      }
    };
  };

  // A filter applies as soon as it is chosen, and a search as it is typed.
  const form = document.querySelector("form[data-filter]");
  if (form) {
    let timer;
    const apply = () => {
      const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
      history.replaceState(null, "", query.size ? "?" + query : location.pathname);
      refresh();
    };
    form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(apply, 200); });
    form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(timer); apply(); });
  }

  // Deletes what the button names, once it has been confirmed.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-delete]");
    if (!button || !confirm(`${button.textContent}: ${button.dataset.name}?`)) return;
    try {
      const answer = await fetch(button.dataset.delete, { method: "DELETE" });
      if (!answer.ok) return alert(await answer.text());
      button.blur();
      if (button.dataset.then) location.href = button.dataset.then;
      else refresh();
    } catch (error) {
      alert(error.message);
    }
  });

  // Copies the text of the element that the button names.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    navigator.clipboard?.writeText(document.getElementById(button.dataset.copy).textContent).then(() => { button.textContent = "copied"; });
  });

  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  follow();
})();
