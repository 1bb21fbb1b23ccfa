/* The work page of a form: questions that depend on an answer, outcomes by one key, a submit that waits for the draft that is
   on its way. The server reads every answer anew; without this file every question is shown and everything works. */
(() => {
  "use strict";
  const form = document.querySelector("form[data-form]");
  if (!form) return;
  const enabled = (name) => [...form.elements].filter((each) => each.name === name && !each.disabled);

  /* Questions: an absent answer meets no test, and what is hidden is not sent. In order: one may hide the next. */
  function given(name) {
    return enabled(name)
      .filter((each) => !["radio", "checkbox"].includes(each.type) || each.checked)
      .map((each) => each.value.trim())
      .filter((value) => value);
  }
  const SIGNS = {
    at_least: (value, limit) => value >= limit, above: (value, limit) => value > limit,
    at_most: (value, limit) => value <= limit, below: (value, limit) => value < limit,
  };
  function meets({ name, values, sign, limit }) {
    return given(name).some((value) => (sign ? SIGNS[sign](Number(value), limit) : values.includes(value)));
  }
  function showAsked() {
    form.querySelectorAll("[data-when]").forEach((part) => {
      const asked = meets(JSON.parse(part.dataset.when));
      part.hidden = !asked;
      part.querySelectorAll("input, select, textarea").forEach((each) => { each.disabled = !asked; });
    });
  }
  form.addEventListener("input", showAsked);
  showAsked();

  /* A draft on its way would be overtaken by the submit and make it look like somebody else's change. */
  let leaving = false;
  form.addEventListener("submit", (event) => {
    const { submitter } = event;
    if (form.classList.contains("htmx-request")) {
      event.preventDefault();
      form.addEventListener("htmx:afterRequest", () => form.requestSubmit(submitter), { once: true });
      return;
    }
    leaving = true;
    setTimeout(() => { leaving = false; }, 5000); // the page is still here: the submit did not get through
  });
  form.addEventListener("htmx:beforeRequest", (event) => { if (leaving && event.target === form) event.preventDefault(); });
  /* The refusal of a draft says itself what is wrong, in its place. */
  form.addEventListener("htmx:beforeSwap", (event) => { if (event.detail.xhr.status === 409) event.detail.shouldSwap = true; });
  form.addEventListener("htmx:responseError", (event) => { if (event.detail.xhr.status === 409) event.stopPropagation(); });
  /* The check of red flags is a help: when it fails, the draft says so and nothing is lost. */
  const check = document.getElementById("flag-check");
  ["htmx:responseError", "htmx:sendError"].forEach((name) => check.addEventListener(name, (event) => event.stopPropagation()));
  /* What did not change is not read out again. */
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const { target, fragment } = event.detail;
    if (target.id.startsWith("flag-") && target.textContent.trim() === fragment.textContent.trim()) event.detail.shouldSwap = false;
  });

  /* Enter goes on to the next field; a form of twenty questions is not sent by the first. */
  const composing = (event) => event.isComposing || event.keyCode === 229;
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.ctrlKey || event.metaKey || composing(event)) return;
    if (!event.target.matches("input")) return;
    event.preventDefault();
    const fields = [...form.querySelectorAll("input:not([type=hidden]), select, textarea, button")]
      .filter((each) => !each.disabled && each.name !== event.target.name);
    fields.find((each) => event.target.compareDocumentPosition(each) & Node.DOCUMENT_POSITION_FOLLOWING)?.focus();
  });

  /* One key for each outcome: it is only chosen, not sent. Dead while typing, in a sheet, and with a modifier. */
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || composing(event)) return;
    if (event.target.closest("input, textarea, select, [contenteditable]") || document.querySelector("dialog[open]")) return;
    const target = /^[1-9]$/.test(event.key) && document.querySelector(`main [data-hotkey="${event.key}"]`);
    if (target) { event.preventDefault(); target.click(); }
  });

  /* The keyboard starts at the form, not at the top of the page. */
  if (!document.querySelector("[data-focus], .error-summary")) document.getElementById("form-title").focus({ preventScroll: true });
})();
