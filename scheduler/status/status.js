'use strict';
// Asks for /status.json every two seconds and draws what has changed. Text goes into the page as text, never as markup.
(() => {
  const POLL = 2000;
  const MOST_BARS = 16;  // of running trials; the others are in the table
  const STALE = 10;  // seconds without news before the page says so
  const element = id => document.getElementById(id);
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const palettes = {
    light: ['#2563a8', '#d9822b', '#3c9d6b', '#b84a62', '#7a5fb0', '#8c6d31', '#3f9fc4', '#6b7280'],
    dark: ['#6aa5e3', '#eba55c', '#68c294', '#e07f96', '#a994dc', '#c4a365', '#72c4e3', '#a1a9b5']};

  // ---------------------------------------------------------------------------------------------------------- words
  const whole = value => Math.round(value).toLocaleString('en-US');
  const short = value => {
    if (value >= 1e9) return (value / 1e9).toFixed(1) + ' G';
    if (value >= 1e6) return (value / 1e6).toFixed(1) + ' M';
    return whole(value);
  };
  const bytes = value => value >= 1e9 ? (value / 1e9).toFixed(1) + ' GB' : (value / 1e6).toFixed(1) + ' MB';
  const figure = value => value === undefined || value === null ? '-' : value.toFixed(4);
  const duration = seconds => {
    const s = Math.max(0, Math.round(seconds));
    if (s < 60) return s + ' s';
    if (s < 3600) return Math.floor(s / 60) + ' min ' + String(s % 60).padStart(2, '0') + ' s';
    if (s < 86400) return Math.floor(s / 3600) + ' h ' + String(Math.floor(s % 3600 / 60)).padStart(2, '0') + ' min';
    return Math.floor(s / 86400) + ' d ' + Math.floor(s % 86400 / 3600) + ' h';
  };
  const clock = unix => new Date(unix * 1000).toLocaleTimeString('en-GB');
  const day = unix => new Date(unix * 1000).toLocaleDateString('en-CA') + ' ' + clock(unix);
  const plural = (count, one, many) => count + ' ' + (count === 1 ? one : many);

  // ------------------------------------------------------------------------------------------------------- elements
  const make = (tag, text, className) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };

  // Draws into an element if what it is drawn from has changed, so that a selection and a scrolled list stay as they are.
  const drawn = new Map();
  const draw = (id, from, fill) => {
    const text = JSON.stringify(from);
    if (drawn.get(id) === text) return;
    drawn.set(id, text);
    fill(element(id));
  };

  const facts = (id, list) => draw(id, list, place => place.replaceChildren(...list.map(([what, value, note, level]) => {
    const div = make('div', undefined, level);
    const dd = make('dd', value);
    if (note) dd.append(' ', make('small', note));
    div.append(make('dt', what), dd);
    return div;
  })));

  // Columns: [head, kind, 'more' for those that a phone leaves out]; kind: text, number, state, name.
  const table = (id, columns, rows, emphasized = -1) => draw(id, [columns, rows, emphasized], place => {
    const classes = ([, kind, more]) => [kind === 'number' ? 'number' : kind === 'name' ? 'name' : '', more || ''].join(' ').trim();
    const head = make('thead');
    head.append(make('tr'));
    columns.forEach(column => head.firstChild.append(make('th', column[0], classes(column))));
    const body = make('tbody');
    rows.forEach((row, index) => {
      const tr = make('tr', undefined, index === emphasized ? 'emphasized' : '');
      row.forEach((cell, c) => {
        const td = make('td', undefined, classes(columns[c]));
        td.append(columns[c][1] === 'state' ? make('span', cell, 'state ' + cell.split(' ')[0]) : cell);
        tr.append(td);
      });
      body.append(tr);
    });
    place.replaceChildren(head, body);
  });

  // --------------------------------------------------------------------------------------------------------- sections
  const drawHead = status => {
    element('name').textContent = status.name;
    document.title = (status.problems.length ? '⚠ ' : '') + status.name + ': marquee';
    const data = status.data.name + (status.data.synthetic ? ' (synthetic: made up by a program)' : '');
    element('about').textContent =
      `Cluster ${status.cluster}, data ${data}, split ${status.data.split}; runs since ${day(status.started)}; as of ${clock(status.time)}`;
    element('version').textContent = status.version;
    element('report').hidden = !status.report;
    draw('problems', [status.problems, status.state], place => {
      const problems = status.problems.map(problem => make('p', problem.text, 'problem ' + problem.level));
      if (!problems.length) {
        const text = status.state === 'over' ? 'The sweep is over.' : 'Nothing is wrong.';
        problems.push(make('p', text, 'problem ok'));
      }
      place.replaceChildren(...problems);
    });
    const trials = status.trials;
    const all = trials.pending + trials.running + trials.finished + trials.stopped + trials.failed;
    const alive = list => list.filter(member => member.state === 'alive').length;
    const members = (what, list, level) => {
      const here = alive(list);
      return [what, `${here} of ${list.length}`, '', here < list.length && status.state !== 'over' ? level : ''];
    };
    const checkpoint = status.checkpoint;
    facts('facts', [
      ['Trials ended', `${trials.finished + trials.stopped + trials.failed} of ${all}`,
       [trials.running && trials.running + ' running', trials.failed && trials.failed + ' failed'].filter(Boolean).join(', '),
       trials.failed ? 'warning' : ''],
      ['Examples per second', whole(trials.examples_per_second)],
      members('Servers', status.servers, 'error'), members('Workers', status.workers, 'warning'),
      ['Second copies', status.view.replication < 2 ? 'off' : status.view.single_partitions ? `${status.view.single_partitions} missing` : 'whole', '',
       status.view.single_partitions ? 'warning' : ''],
      ['Last checkpoint', !checkpoint.on ? 'off' : checkpoint.time ? duration(status.time - checkpoint.time) : 'none yet',
       checkpoint.time ? 'ago' : ''],
    ]);
  };

  const drawTrials = status => {
    const trials = status.trials.list;
    const running = trials.filter(trial => trial.status === 'running').slice(0, MOST_BARS);
    draw('running', running, place => place.replaceChildren(...running.map(trial => {
      const run = make('div', undefined, 'run');
      const title = make('p');
      title.append(make('b', trial.name), make('span', trial.phase, 'state running'));
      const bar = make('progress');
      bar.max = trial.epochs;
      bar.value = trial.epoch;
      bar.setAttribute('aria-label', 'progress of ' + trial.name);
      const details = make('p', undefined, 'details');
      const say = text => details.append(make('span', text));
      say(`epoch ${Math.min(trial.epochs, Math.floor(trial.epoch) + 1)} of ${trial.epochs}`);
      if (trial.phase === 'training') say(whole(trial.examples_per_second) + ' examples/s');
      if (trial.loss !== undefined) say('loss ' + figure(trial.loss));
      if (trial.validation !== undefined) say(`validation ${trial.metric} ${figure(trial.validation)}`);
      if (trial.seconds_left !== undefined) say(duration(trial.seconds_left) + ' left');
      run.append(title, bar, details);
      return run;
    })));
    const wanted = element('status-filter').value;
    const name = element('name-filter').value.trim().toLowerCase();
    const shown = trials.filter(trial => (!wanted || trial.status === wanted) && trial.name.toLowerCase().includes(name));
    table('trial-table',
          [['trial', 'name'], ['status', 'state'], ['kind', 'text', 'more'], ['epochs', 'number'], ['loss', 'number', 'more'],
           ['validation', 'number'], ['by', 'text', 'more'], ['examples/s', 'number', 'more'], ['took', 'number', 'more']],
          shown.map(trial => [
            trial.name, trial.status, trial.kind, `${Math.floor(trial.epoch)}/${trial.epochs}`, figure(trial.loss), figure(trial.validation),
            trial.metric, trial.examples_per_second ? whole(trial.examples_per_second) : '-',
            trial.seconds === undefined ? '-' : duration(trial.seconds)]));
    const failed = shown.filter(trial => trial.reason).map(trial => `${trial.name}: ${trial.reason}`);
    const notes = failed.slice(0, 5);
    if (!shown.length) notes.push('No trial is like that.');
    if (status.trials.left_out) notes.push(`${whole(status.trials.left_out)} more trials are not listed.`);
    element('trial-note').textContent = notes.join(' · ');
  };

  const charts = new Map();  // by id
  const drawChart = (id, title, yName, series) => {
    let figureElement = element('figure-' + id);
    if (!figureElement) {
      figureElement = make('figure');
      figureElement.id = 'figure-' + id;
      const place = make('div', undefined, 'chart');
      place.id = 'chart-' + id;
      figureElement.append(make('figcaption', title), place);
      element('charts').append(figureElement);
    }
    let chart = charts.get(id);
    if (!chart) {
      chart = echarts.init(element('chart-' + id), dark.matches ? 'dark' : null, {renderer: 'svg'});
      charts.set(id, chart);
    }
    chart.setOption({
      color: palettes[dark.matches ? 'dark' : 'light'], backgroundColor: 'transparent', animation: false,
      textStyle: {fontFamily: 'system-ui, sans-serif'}, aria: {enabled: true},
      tooltip: {trigger: 'item', confine: true,
                formatter: point => `${echarts.format.encodeHTML(point.seriesName)}<br>epoch ${point.value[0].toFixed(2)}: ${point.value[1].toFixed(4)}`},
      legend: {type: 'scroll', top: 0, left: 0, right: 0, itemWidth: 16},
      grid: {left: 8, right: 20, top: 36, bottom: 24, containLabel: true},
      xAxis: {type: 'value', min: 0, name: 'epochs', nameLocation: 'middle', nameGap: 26, splitLine: {show: false}, axisLabel: {hideOverlap: true}},
      yAxis: {type: 'value', scale: true, axisLabel: {hideOverlap: true}},
      series: series.map(one => ({type: 'line', name: one.name, data: one.data, symbolSize: 5, showSymbol: one.data.length <= 20,
                                  lineStyle: {width: 2}})),
    }, {replaceMerge: ['series']});
  };

  const drawCurves = status => {
    const kinds = new Map();
    for (const trial of status.trials.list) {
      if (trial.losses) kinds.set(trial.kind, [...(kinds.get(trial.kind) || []), trial]);
    }
    const wanted = new Set();
    for (const [kind, trials] of [...kinds].sort()) {
      const several = kinds.size > 1 ? `: ${kind}` : '';
      const plot = (what, title, points) => {
        const series = trials.map(trial => ({name: trial.name, data: points(trial)})).filter(one => one.data.length);
        if (!series.length) return;
        wanted.add(`${what}-${kind}`);
        drawChart(`${what}-${kind}`, title + several, what, series);
      };
      plot('loss', 'Training loss', trial => trial.losses);
      plot('validation', `Validation ${trials[0].metric}`, trial => trial.validations);
    }
    for (const [id, chart] of charts) {
      if (wanted.has(id)) continue;
      chart.dispose();
      charts.delete(id);
      element('figure-' + id).remove();
    }
    if (!wanted.size && !element('charts').firstChild) element('charts').append(make('p', 'None yet: they begin with the first trial.', 'note'));
    if (wanted.size) element('charts').querySelector('p')?.remove();
  };
  const forgetCharts = () => {
    charts.forEach(chart => chart.dispose());
    charts.clear();
    element('charts').replaceChildren();
  };

  const drawLeaderboard = status => {
    draw('boards', status.leaderboard, place => {
      if (!status.leaderboard.length) return place.replaceChildren(make('p', 'No trial has ended yet.', 'note'));
      place.replaceChildren(...status.leaderboard.map((board, index) => {
        const scroll = make('div', undefined, 'scroll');
        const made = make('table');
        made.id = 'board-' + index;
        scroll.append(made);
        return scroll;
      }));
    });
    status.leaderboard.forEach((board, index) => table(
      'board-' + index,
      [[board.kind, 'name'], [`validation ${board.metric}`, 'number'],
       ...board.test_metrics.map((metric, m) => ['test ' + metric, 'number', m > 0 ? 'more' : ''])],
      board.rows.map(row => [row.name, row.validation, ...row.test]), 0));
  };

  const quiet = member => member.state === 'alive' && member.silent_seconds > 3 ? ` (silent for ${duration(member.silent_seconds)})` : '';
  const optional = (value, say) => value === undefined ? '-' : say(value);

  const drawMembers = status => {
    const copies = status.view.replication > 1;
    table('server-table',
          [['server', 'name'], ['state', 'state'], ['host and metrics', 'text', 'more'], ['shards', 'number', 'more'], ['primary of', 'number'],
           ...(copies ? [['copies', 'number'], ['filling', 'number', 'more']] : []), ['rows', 'number'], ['memory of rows', 'number', 'more'],
           ['pulls', 'number', 'more'], ['pushes', 'number', 'more']],
          status.servers.map(server => [
            server.name, server.state + quiet(server), server.metrics || server.host, whole(server.shards), optional(server.primary_partitions, whole),
            ...(copies ? [optional(server.backup_partitions, whole), optional(server.filling_partitions, whole)] : []),
            optional(server.rows, short), optional(server.bytes, bytes), optional(server.pulls, short), optional(server.pushes, short)]));
    table('worker-table', [['worker', 'name'], ['state', 'state'], ['trains', 'name'], ['host and metrics', 'text', 'more']],
          status.workers.map(worker => [worker.name, worker.state + quiet(worker), worker.trial || '-', worker.metrics || worker.host]));
  };

  const drawView = status => {
    const view = status.view;
    facts('view', [
      ['View', view.number ? String(view.number) : 'none yet'], ['Partitions', whole(view.partitions)],
      ['Copies of a row', String(view.replication)],
      ...(view.replication > 1 ? [['Without a second copy', whole(view.single_partitions), '', view.single_partitions ? 'warning' : ''],
                                  ['Being filled', whole(view.filling_partitions)], ['Copies that took over', whole(view.promoted_partitions)]] : []),
      ['Servers lost', whole(view.servers_lost)], ['Workers lost', whole(view.workers_lost)],
      ['Examples trained', short(status.trials.examples), status.trials.repeated_examples ? short(status.trials.repeated_examples) + ' of them again' : '']]);
    const rejected = Object.entries(status.rejected).map(([reason, count]) => `${reason} ${whole(count)}`);
    element('rejected').textContent = rejected.length ? 'Messages that the scheduler refused, by reason: ' + rejected.join(', ') : '';
  };

  const drawCheckpoint = status => {
    const checkpoint = status.checkpoint;
    if (!checkpoint.on) {
      facts('checkpoint', []);
      element('checkpoint-note').textContent = 'Off: the cluster file has no section cluster.checkpoints. A trial that loses rows starts anew.';
      return;
    }
    facts('checkpoint', [
      ['Last', checkpoint.number === undefined ? 'none yet' : 'number ' + checkpoint.number, checkpoint.time ? 'at ' + clock(checkpoint.time) : ''],
      ...(checkpoint.bytes === undefined ? [] : [['Size', bytes(checkpoint.bytes)], ['Training paused for', checkpoint.pause_seconds.toFixed(2) + ' s']]),
      ['Written', whole(checkpoint.written)], ['Given up', whole(checkpoint.failed), '', checkpoint.failed ? 'warning' : ''],
      ['Trials that went on from one', whole(checkpoint.trials_restored)]]);
    element('checkpoint-note').textContent = checkpoint.every_seconds === undefined ? 'Made on request (SIGUSR1) only.' : `Made every ${duration(checkpoint.every_seconds)}, counted since this scheduler started.`;
  };

  const drawEvents = status => {
    const events = status.events.filter(event => !element('only-problems').checked || event.level !== 'info');
    draw('event-list', events, place => place.replaceChildren(...(events.length ? events : [{text: 'None.', level: 'info'}]).map(event => {
      const item = make('li', undefined, event.level);
      if (event.time) {
        const time = make('time', clock(event.time));
        time.dateTime = new Date(event.time * 1000).toISOString();
        time.title = day(event.time);
        item.append(time);
      }
      item.append(make('span', event.text));
      return item;
    })));
  };

  // ------------------------------------------------------------------------------------------------------------- news
  let status = null;
  let heard = performance.now();
  const drawAll = () => {
    if (!status) return;
    for (const section of [drawHead, drawTrials, drawCurves, drawLeaderboard, drawMembers, drawView, drawCheckpoint, drawEvents]) section(status);
  };
  const sayGone = () => {
    const silent = (performance.now() - heard) / 1000;
    const gone = element('gone');
    gone.hidden = silent < STALE;
    const over = status && status.state === 'over' ? 'The sweep is over, and the scheduler has ended.' : 'What stands here is old.';
    if (!gone.hidden) gone.textContent = `No news from the scheduler for ${duration(silent)}. ${over}`;
  };
  const ask = async () => {
    try {
      const response = await fetch('/status.json', {cache: 'no-store', signal: AbortSignal.timeout(5 * POLL)});
      if (response.status === 401) return location.assign('/login');
      if (response.ok) {
        const news = await response.json();
        // One that answers and makes no new state is stuck.
        if (news.time !== status?.time) heard = performance.now();
        status = news;
        drawAll();
      }
    } catch (error) {
      if (!(error instanceof TypeError || error.name === 'TimeoutError' || error.name === 'AbortError')) throw error;  // not the network's
    } finally {
      sayGone();
      setTimeout(ask, document.hidden ? 5 * POLL : POLL);
    }
  };

  for (const id of ['status-filter', 'name-filter', 'only-problems']) element(id).addEventListener('input', drawAll);
  dark.addEventListener('change', () => { forgetCharts(); drawAll(); });
  let width = innerWidth;
  addEventListener('resize', () => {
    if (innerWidth === width) return;
    width = innerWidth;
    charts.forEach(chart => chart.resize());
  });
  ask();
})();
