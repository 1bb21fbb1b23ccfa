/* What a page does in the browser: keys, leave-warning, toasts, the bar for slow answers, the session that ended while
   a form was open. Every page works without it; nothing about a patient is kept in the browser's storage. */
(() => {
  "use strict";
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  /* Keys. Dead while an input method is composing (keyCode 229: some report the first key before they say so). */
  const composing = (event) => event.isComposing || event.keyCode === 229;
  const typing = (event) => event.target.closest("input, textarea, select, [contenteditable]");
  const idle = (event) => event.repeat || composing(event) || typing(event) || one("dialog[open]");
  const shown = (element) => element.getClientRects().length > 0;

  const rowsOf = (root) => all("a.row-link", root).filter(shown);
  function moveInList(step, links = rowsOf(one("main"))) {
    if (!links.length) return;
    const row = document.activeElement.closest("tr, li");
    const at = row ? links.findIndex((link) => row.contains(link)) : -1;
    const next = links[at < 0 ? 0 : Math.min(Math.max(at + step, 0), links.length - 1)];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }

  function press(key) {
    const row = document.activeElement.closest("tr, li");
    const target = (row && one(`[data-key="${key}"]`, row)) || one(`main [data-key="${key}"]`);
    if (target) target.click();
  }

  function save(event) {
    const form = document.activeElement.closest("form");
    const button = (form && one('[data-key="save"]', form)) || (!form && one('main [data-key="save"]'));
    if (!button) return;
    event.preventDefault();
    button.click();
  }

  function search(event) {
    const box = one("#search");
    if (!box) return;
    event.preventDefault();
    box.select();
  }

  /* From the box into what it found and back: the list of its page, or what stands under it in the head of any other.
     Escape empties the box; a browser's own search field would tell nobody. */
  let isTyped = false; // what is shown is not yet what was typed
  let isWanted = false; // the arrow was faster than the answer
  document.addEventListener("input", (event) => { if (event.target.id === "search") { isTyped = true; isWanted = false; } });
  const foundBy = (box) => one("#quick") || one("#results") || box.closest("main");
  function walk(event) {
    const box = one("#search");
    if (!box || composing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    const inRow = event.target.matches("a.row-link") && foundBy(box).contains(event.target);
    if (event.target !== box && !inRow) return;
    const links = rowsOf(foundBy(box));
    if (event.key === "ArrowDown") {
      isWanted = isTyped && event.target === box;
      if (!isWanted) moveInList(1, links);
    } else if (event.key === "ArrowUp" && inRow) event.target === links[0] ? box.focus() : moveInList(-1, links);
    else if (event.key === "Escape" && (inRow || box.value)) {
      box.value = "";
      box.focus();
      box.dispatchEvent(new Event("input", { bubbles: true }));
    } else return;
    event.preventDefault();
  }
  document.addEventListener("keydown", walk);
  /* What is found comes while one is there already: the keys go on working. */
  document.addEventListener("htmx:afterSettle", (event) => {
    const box = one("#search");
    if (!box || !event.target.matches("#quick, #results")) return;
    if (document.activeElement === document.body) box.focus();
    if (isWanted && document.activeElement === box) moveInList(1, rowsOf(foundBy(box)));
    isTyped = isWanted = false;
  });
  const sought = one("#search[autofocus]"); // a search that came back: one goes on typing, or down into the list
  if (sought) sought.setSelectionRange(sought.value.length, sought.value.length);

  const showKeys = () => one("#key-sheet") && one("#key-sheet").showModal();
  tinykeys.tinykeys(window, {
    "[Shift]+?": showKeys,
    "[Shift]+？": showKeys,
    "/": search,
    j: () => moveInList(1),
    k: () => moveInList(-1),
    e: () => press("done"),
    c: () => press("contact"),
    d: () => press("death"),
  }, { ignore: idle });
  tinykeys.tinykeys(window, { "$mod+Enter": save }, { ignore: (event) => event.repeat || composing(event) });

  /* The part of a record one is in stands in sight where the row of parts slides. */
  const part = one("main .nav-underline .active");
  if (part) part.parentElement.scrollLeft = part.offsetLeft - part.parentElement.offsetLeft - 48;

  /* Forms. data-guard asks before text is lost; "always" also when nothing was typed on this page. */
  const unsaved = new Set();
  const isGuarded = (form) => form && form.matches("form[data-guard]");
  document.addEventListener("input", (event) => {
    const form = event.target.closest("form");
    if (isGuarded(form)) unsaved.add(form);
  });
  all('form[data-guard="always"]').forEach((form) => unsaved.add(form));
  window.addEventListener("beforeunload", (event) => {
    if (![...unsaved].some((form) => form.isConnected)) return;
    event.preventDefault();
    event.returnValue = ""; // Chrome 109 asks only when this is set
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method === "dialog" || event.defaultPrevented) return; // htmx sends it itself, see afterRequest
    if (form.dataset.sent) { event.preventDefault(); return; } // a second click while the first is under way
    form.dataset.sent = "1";
    setTimeout(() => delete form.dataset.sent, 5000); // a download leaves the page as it is
    unsaved.delete(form);
  });
  all("form[data-autosubmit]").forEach((form) => form.requestSubmit());

  /* htmx: token, slow answers, ended session, faults. */
  const token = () => one('meta[name="csrf-token"]').content;
  let waiting = 0;
  function count(step) {
    waiting = Math.max(0, waiting + step);
    const bar = one("#progress");
    if (bar) bar.classList.toggle("on", waiting > 0); // its 300 ms are in the style sheet
  }
  document.addEventListener("htmx:configRequest", (event) => { event.detail.headers["X-CSRFToken"] = token(); });
  document.addEventListener("htmx:beforeSend", () => count(1));
  document.addEventListener("htmx:afterRequest", (event) => {
    count(-1);
    if (event.detail.successful && isGuarded(event.detail.elt)) unsaved.delete(event.detail.elt);
  });
  document.addEventListener("htmx:responseError", (event) => {
    const { elt, xhr, requestConfig } = event.detail;
    if (xhr.status !== 401) {
      toast({ text: xhr.status === 409 ? "内容已被他人更改，请刷新后再改" : "没有完成，请重试" });
    } else if (elt.matches("form") && requestConfig.verb === "post") {
      if (requestConfig.triggeringEvent?.type !== "submit") return toast({ text: "登录已超时，提交时请重新登录，内容不会丢失" });
      /* Sent again as a plain post: the server answers with a login page that carries what was typed. */
      unsaved.clear();
      elt.method = "post";
      elt.action = requestConfig.path;
      HTMLFormElement.prototype.submit.call(elt);
    } else {
      location.reload();
    }
  });
  document.addEventListener("htmx:sendError", () => toast({ text: "网络中断，内容还在本页，请稍后重试" }));
  document.addEventListener("htmx:afterSettle", () => focusErrors());

  /* A list that was asked for by post has its filters in the address too. */
  const listed = one("[data-address]");
  if (listed && listed.dataset.address !== location.pathname + location.search && !location.search) {
    history.replaceState(history.state, "", listed.dataset.address);
  }

  /* Toasts: ten seconds, longer while the pointer or the focus rests on them. */
  const TEN_SECONDS = 10000;
  function toast({ text, undo }) {
    const item = one("#toast")?.content.firstElementChild.cloneNode(true);
    if (!item) return;
    one('[data-slot="text"]', item).textContent = text;
    const form = one('[data-slot="undo"]', item);
    if (undo) { form.action = undo; form.hidden = false; } else { form.remove(); }
    one('[data-slot="close"]', item).addEventListener("click", () => item.remove());
    one("#toasts").append(item);
    const leave = () => (item.matches(":hover, :focus-within") ? setTimeout(leave, 1000) : item.remove());
    setTimeout(leave, TEN_SECONDS);
  }
  document.addEventListener("toast", (event) => toast(event.detail)); // from the header HX-Trigger
  all("[data-toast]").forEach((wait) => { toast({ text: wait.dataset.toast, undo: wait.dataset.undo }); wait.remove(); });

  /* What was said of a field is no longer true once it is changed. */
  function forgetError(event) {
    const field = event.target.closest(".field.has-error");
    if (!field) return;
    field.classList.remove("has-error");
    all(".field-error", field).forEach((text) => text.remove());
    [field, ...all("[aria-invalid], [aria-describedby]", field)].forEach((each) => {
      each.removeAttribute("aria-invalid");
      const kept = (each.getAttribute("aria-describedby") || "").split(" ").filter((id) => id && !id.startsWith("error-"));
      if (kept.length) each.setAttribute("aria-describedby", kept.join(" "));
      else each.removeAttribute("aria-describedby");
    });
  }
  ["input", "change"].forEach((name) => document.addEventListener(name, forgetError));

  /* The clipboard's own interface exists only over HTTPS and on this machine itself. */
  function copyText(text) {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const area = document.body.appendChild(Object.assign(document.createElement("textarea"), { value: text }));
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done ? Promise.resolve() : Promise.reject(new Error("copy"));
  }

  function focusErrors() {
    const summary = one("[data-focus]");
    if (!summary) return;
    summary.removeAttribute("data-focus");
    summary.focus();
  }
  focusErrors();
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-open]");
    if (opener) one(`#${opener.dataset.open}`).showModal();
    const jump = event.target.closest('.error-summary a[href^="#"]');
    const field = jump && document.getElementById(jump.hash.slice(1));
    if (field) { event.preventDefault(); field.focus(); field.scrollIntoView({ block: "center" }); }
    if (event.target.closest("[data-print]")) window.print();
    const copy = event.target.closest("[data-copy]");
    if (copy) copyText(one(`#${copy.dataset.copy}`).value).then(() => toast({ text: "已复制" }), () => toast({ text: "浏览器不允许复制" }));
  });
})();
