'use strict';
// Asks /api/... and shows what it answers. Text goes into the page as text, never as markup.
(() => {
  const TYPING = 150;  // milliseconds without a key before a search begins
  const AGAIN = 1000;  // until a server that is not ready is asked again
  const MORE = 10;
  const MOST = 100;
  const element = id => document.getElementById(id);
  const make = (tag, text, className) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const whole = value => value.toLocaleString('en-US');
  const plural = (count, one, many) => whole(count) + ' ' + (count === 1 ? one : many);

  let model = null;
  let mode = 'guest';
  let count = MORE;
  let shownUser = '';
  let ratings = [];  // of the guest: {movie, title, rating}, in the order in which they were made

  // ---------------------------------------------------------------------------------------------------------- asking
  const troubles = new Map();  // by the kind of question
  const say = (kind, text, level = 'error') => {
    troubles.delete(kind);
    if (text) troubles.set(kind, {text, level});
    const last = [...troubles.values()].at(-1);
    element('trouble').textContent = last?.text ?? '';
    element('trouble').className = 'problem ' + (last?.level ?? '');
    element('trouble').hidden = !last;
  };

  // What the server says, or null if it says no (which is shown) or a later question of the same kind has been asked meanwhile.
  const asked = new Map();
  const ask = async (kind, path, body) => {
    asked.get(kind)?.abort();
    const abort = new AbortController();
    asked.set(kind, abort);
    try {
      const response = await fetch(path, {
        signal: abort.signal, method: body ? 'POST' : 'GET', body: body && JSON.stringify(body),
        headers: body ? {'Content-Type': 'application/json'} : {}});
      const answer = await response.json();
      if (abort.signal.aborted) return null;
      if (response.ok) {
        say(kind, '');
        return answer;
      }
      if (response.status === 401) location.assign('/login');
      const error = answer.error;
      let text = error.field && error.value ? `${error.field} “${error.value}”: ${error.message}` : error.message;
      if (error.field === 'user') text = `No user is called “${error.value}”. Those that there are are suggested while you type.`;
      say(kind, text, response.status === 503 ? 'warning' : 'error');
      return null;
    } catch (error) {
      if (error.name !== 'AbortError') say(kind, 'The server does not answer. Is it still running?');
      return null;
    }
  };

  // --------------------------------------------------------------------------------------------------------- ratings
  const place = () => 'marquee ratings of ' + model.data.name;
  const remember = () => {
    try {
      localStorage.setItem(place(), JSON.stringify(ratings));
    } catch { /* a browser that keeps nothing: they last as long as the page */ }
  };
  const recall = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(place()) ?? '[]');
      ratings = kept.filter(one => typeof one.movie === 'string' && typeof one.title === 'string' && one.rating >= 1 && one.rating <= 5);
    } catch {
      ratings = [];
    }
  };

  const rate = (movie, rating) => {
    const known = ratings.find(one => one.movie === movie.movie);
    if (!rating) ratings = ratings.filter(one => one !== known);
    else if (known) known.rating = rating;
    else ratings.push({movie: movie.movie, title: movie.title, rating});
    remember();
    count = MORE;
    drawRated();
    document.querySelectorAll('.stars').forEach(colour);
    recommend();
  };

  const ratingOf = movie => ratings.find(one => one.movie === movie)?.rating ?? 0;
  const colour = stars => {
    const rating = ratingOf(stars.dataset.movie);
    for (const star of stars.querySelectorAll('[data-rating]')) {
      const on = star.dataset.rating <= rating;
      star.classList.toggle('on', on);
      star.textContent = on ? '★' : '☆';
      star.setAttribute('aria-pressed', String(Number(star.dataset.rating) === rating));
    }
  };

  const starsFor = movie => {
    const stars = make('span', undefined, 'stars');
    stars.setAttribute('role', 'group');
    stars.setAttribute('aria-label', 'Your rating of ' + movie.title);
    stars.dataset.movie = movie.movie;
    for (let rating = 1; rating <= 5; ++rating) {
      const star = make('button');
      star.type = 'button';
      star.dataset.rating = rating;
      star.setAttribute('aria-label', plural(rating, 'star', 'stars'));
      star.addEventListener('click', () => rate(movie, rating));
      stars.append(star);
    }
    colour(stars);
    return stars;
  };

  const movieItem = (movie, note) => {
    const item = make('li');
    const what = make('span', undefined, 'what');
    what.append(movie.title);
    if (note) what.append(make('small', note));
    item.append(what, starsFor(movie));
    return item;
  };

  const drawRated = () => {
    element('rated-part').hidden = ratings.length === 0;
    element('rated-count').textContent = ratings.length;
    element('rated').replaceChildren(...ratings.map(movie => {
      const item = movieItem(movie);
      const clear = make('button', '✕', 'clear');
      clear.type = 'button';
      clear.setAttribute('aria-label', 'Forget ' + movie.title);
      clear.addEventListener('click', () => rate(movie, 0));
      item.lastChild.append(clear);
      return item;
    }));
  };

  const search = async () => {
    const text = element('search').value.trim();
    const answer = await ask('search', '/api/search?count=8&q=' + encodeURIComponent(text));
    if (!answer) return;
    element('found').replaceChildren(...answer.movies.map(
      movie => movieItem(movie, [movie.genres.join(', '), plural(movie.ratings, 'rating', 'ratings')].filter(Boolean).join(' · '))));
    const nothing = `No title has words that begin with “${text}”.`;
    element('found-note').textContent = answer.movies.length === 0 ? nothing : text ? '' : 'Rated most often:';
  };

  // --------------------------------------------------------------------------------------------------------- answers
  const figure = movie => {
    const made = make('div', undefined, 'figure');
    if (movie.rating !== undefined) {
      made.append(make('span', '★ ', 'star'), movie.rating.toFixed(1), make('small', 'predicted'));
    } else if (movie.liked !== undefined) {
      made.append(Math.round(100 * movie.liked) + ' %', make('small', 'would like it'));
    } else if (movie.score !== undefined) {
      made.append(movie.score.toFixed(2), make('small', 'score'));
    }
    return made;
  };

  const why = (movie, reasons) => {
    if (!movie.because.length) return null;
    const titles = movie.because.map(one => `${one.title}\u00a0(${one.rating}★)`);
    return make('p', (reasons === 'history' ? 'Because of ' : 'Like ') + titles.join(', '), 'why');
  };

  const drawAnswer = answer => {
    element('recommendations').replaceChildren(...answer.movies.map(movie => {
      const item = make('li');
      const middle = make('div');
      middle.append(make('b', movie.title));
      if (movie.genres.length) middle.append(make('small', movie.genres.join(', ')));
      const reason = why(movie, answer.reasons);
      const below = make('div', undefined, 'below');
      if (reason) below.append(reason);
      if (movie.seen) below.append(make('span', 'rated already', 'tag seen'));
      const traits = movie.traits.filter(trait => trait.column !== 'movie_genres').slice(0, 2);
      for (const trait of traits) below.append(make('span', `${trait.column}: ${trait.value}`, 'tag'));
      item.append(middle, figure(movie), below);
      return item;
    }));
    element('more').hidden = answer.movies.length < count || count >= MOST;
  };

  const link = path => {
    element('json').href = path;
    element('json').textContent = path;
  };

  const clearAnswer = note => {
    element('answer').classList.remove('waits');
    element('recommendations').replaceChildren();
    element('answer-note').textContent = note;
    element('more').hidden = true;
    link('/api/model');
  };

  const drawLiked = answer => {
    element('liked-part').hidden = answer.best_liked.length === 0;
    element('liked-title').textContent = 'Liked best, of ' + plural(answer.rated, 'rating', 'ratings');
    element('liked').replaceChildren(...answer.best_liked.map(movie => make('li', `${movie.rating}★ ${movie.title}`)));
  };

  const recommend = async () => {
    const forGuest = mode === 'guest';
    if (forGuest ? !model.guests || !ratings.length : !shownUser) {
      asked.get('answer')?.abort();
      say('answer', '');
    }
    if (forGuest && !model.guests) return clearAnswer('');
    if (forGuest && !ratings.length) {
      return clearAnswer('Give some movies their stars: what follows from them stands here.');
    }
    if (!forGuest && !shownUser) return clearAnswer('Choose a user: what they may like stands here.');
    const path = forGuest ? '/api/recommendations' :
      `/api/users/${encodeURIComponent(shownUser)}/recommendations?count=${count}&unseen=${!element('seen-too').checked}`;
    const body = forGuest ? {ratings: ratings.map(({movie, rating}) => ({movie, rating})), count} : undefined;
    element('answer').classList.add('waits');
    const answer = await ask('answer', path, body);
    if (!answer) {
      // Asked again meanwhile, or refused: then what is shown would be of another question.
      if (troubles.has('answer')) {
        clearAnswer('');
        element('liked-part').hidden = true;
      }
      return;
    }
    element('answer').classList.remove('waits');
    element('answer-note').textContent = forGuest ? `From your ${plural(answer.rated, 'rating', 'ratings')}` : `For user ${answer.user}`;
    if (!forGuest) drawLiked(answer);
    drawAnswer(answer);
    link(forGuest ? '/api/model' : path);
  };

  // ----------------------------------------------------------------------------------------------------------- users
  const suggest = async () => {
    const answer = await ask('users', '/api/users?q=' + encodeURIComponent(element('user-key').value.trim()));
    if (!answer) return;
    element('user-keys').replaceChildren(...answer.users.map(user => {
      const option = make('option');
      option.value = user.user;
      option.label = plural(user.rated, 'rating', 'ratings');
      return option;
    }));
  };

  const showUser = key => {
    shownUser = key;
    count = MORE;
    history.replaceState(null, '', key ? '?user=' + encodeURIComponent(key) : location.pathname);
    recommend();
  };

  const show = which => {
    mode = which;
    count = MORE;
    for (const one of ['guest', 'user']) {
      element(one).hidden = one !== which;
      element('as-' + one).setAttribute('aria-pressed', String(one === which));
    }
    say('answer', '');
    if (which === 'guest') history.replaceState(null, '', location.pathname);
    say('guests', which === 'guest' && !model.guests ? 'This model can say nothing to a guest: ' + model.no_guests : '', 'warning');
    recommend();
  };

  // ----------------------------------------------------------------------------------------------------------- start
  const later = (wait, what) => {
    let timer = 0;
    return () => {
      clearTimeout(timer);
      timer = setTimeout(what, wait);
    };
  };

  const start = async () => {
    model = await ask('model', '/api/model');
    if (!model) return void setTimeout(start, AGAIN);
    const data = model.data;
    element('about').textContent =
      `Model ${model.trial}, which has learnt from ${data.name}${data.synthetic ? ' (synthetic: made up by a program)' : ''}: ` +
      `${whole(data.ratings)} ratings of ${whole(data.movies)} movies by ${whole(data.users)} users.` +
      (model.predictions_of && model.predictions_of !== model.trial ? ` Stars are predicted by ${model.predictions_of}.` : '');
    element('version').textContent = model.version;
    recall();
    drawRated();
    element('search').addEventListener('input', later(TYPING, search));
    element('forget').addEventListener('click', () => {
      ratings = [];
      rate({movie: ''}, 0);
    });
    element('as-guest').addEventListener('click', () => show('guest'));
    element('as-user').addEventListener('click', () => {
      show('user');
      suggest();
    });
    element('user-key').addEventListener('input', later(TYPING, suggest));
    element('user-form').addEventListener('submit', event => {
      event.preventDefault();
      showUser(element('user-key').value.trim());
    });
    element('anyone').addEventListener('click', () => {
      const keys = model.example_users;
      element('user-key').value = keys[Math.floor(Math.random() * keys.length)];
      showUser(element('user-key').value);
    });
    element('seen-too').addEventListener('change', recommend);
    element('more').addEventListener('click', () => {
      count = Math.min(MOST, count + MORE);
      recommend();
    });
    if (model.guests) search();
    const user = new URLSearchParams(location.search).get('user');
    if (user !== null || !model.guests) {
      element('user-key').value = user ?? '';
      shownUser = user ?? '';
      show('user');
      suggest();
      return;
    }
    show('guest');
  };
  start();
})();
