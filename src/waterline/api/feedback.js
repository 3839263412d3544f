// Waterline: what became of an answer, told by the page that shows it. docs/howto/feedback.md
(() => {
  'use strict';
  const here = document.currentScript ? document.currentScript.src : location.href;
  const to = here.replace(/\/v1\/feedback\.js.*$/, '') + '/feedback/events';
  const waiting = new Map(); // token -> events not sent yet
  const watched = new WeakMap();
  let pause = 1000, timer = 0;

  const name = () => Array.from(crypto.getRandomValues(new Uint32Array(3)), n => n.toString(36)).join('');

  function put(token, event) {
    if (!waiting.has(token)) waiting.set(token, []);
    waiting.get(token).push(event);
    flush();
  }

  function flush() {
    clearTimeout(timer);
    for (const [token, events] of waiting) {
      waiting.delete(token);
      fetch(to, {method: 'POST', body: JSON.stringify({token, events}), keepalive: true, credentials: 'omit',
        headers: {'content-type': 'text/plain'}})
        .then(r => { if (r.status > 499 || r.status == 429) throw r; pause = 1000; })
        .catch(() => { // sent again: each event has a name, so it counts once
          waiting.set(token, [...events, ...(waiting.get(token) || [])].slice(0, 100));
          clearTimeout(timer);
          timer = setTimeout(flush, pause = Math.min(2 * pause, 60000));
        });
    }
  }

  function watch(element, options) {
    if (watched.has(element)) return watched.get(element);
    const given = options || {}, token = given.token || element.dataset.waterline;
    if (!token) throw new Error('waterline.watch: no token');
    const field = given.field || (element.matches('textarea') ? element : element.querySelector('textarea'));
    const suggested = given.suggested || (field ? field.value : '');
    let said = false, spent = 0, since = document.hidden ? 0 : performance.now();

    const stop = new AbortController(), on = (what, type, act) => what.addEventListener(type, act, {signal: stop.signal});
    const seen = () => Math.round(spent + (since ? performance.now() - since : 0));
    const event = (kind, more) => ({...(kind && {kind}), event: name(), time_ms: seen(), ...more});
    const say = (kind, more) => { said = said || !!kind; put(token, event(kind, more)); };
    const decide = () => {
      const now = field ? field.value : '';
      if (!field || now === suggested) say('accepted');
      else if (!now.trim()) say('rejected');
      else say('edited', {edit: now.slice(0, 20000), ...(suggested.length < 20000 && {suggested})});
    };

    on(document, 'visibilitychange', () => {
      spent = seen();
      since = document.hidden ? 0 : performance.now();
    });
    let copied = false;
    on(element, 'copy', () => { if (!copied) { copied = true; say('copied'); } });
    on(element, 'click', e => {
      const button = e.target.closest('[data-waterline-do]'), what = button && button.dataset.waterlineDo;
      if (what === 'accept') decide();
      else if (what === 'reject') say('rejected');
      else if (what === 'retry') say('retried');
    });
    if (field && field.form) on(field.form, 'submit', decide);
    on(window, 'pagehide', () => {
      if (!said) { said = true; waiting.set(token, [...(waiting.get(token) || []), event('abandoned')]); }
      const events = waiting.get(token);
      if (events && navigator.sendBeacon(to, JSON.stringify({token, events}))) waiting.delete(token);
    });
    const one = {say, step: step => say('', {step}), stop: () => stop.abort()};
    watched.set(element, one);
    return one;
  }

  window.waterline = {watch};
  const all = () => document.querySelectorAll('[data-waterline]').forEach(e => watch(e));
  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', all);
  else all();
})();
