#include "CEditLine.h"

#include <histedit.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct minimind_edit_line {
  EditLine *editor;
  History *history;
  char *prompt;
  char *history_path;
  int is_interrupted;
};

static minimind_edit_line *owner(EditLine *editor) {
  void *data = NULL;
  el_get(editor, EL_CLIENTDATA, &data);
  return data;
}

static char *prompt_text(EditLine *editor) { return owner(editor)->prompt; }

static unsigned char on_interrupt(EditLine *editor, int character) {
  (void)character;
  owner(editor)->is_interrupted = 1;
  return CC_NEWLINE;
}

// libedit's own handler puts the terminal in order before the stop and draws the line again after it.
static unsigned char on_suspend(EditLine *editor, int character) {
  (void)editor;
  (void)character;
  kill(0, SIGTSTP);
  return CC_NORM;
}

minimind_edit_line *minimind_edit_line_open(const char *prompt, const char *history_path, int history_size) {
  // Characters wider than a byte need a UTF-8 locale, which a bare system may not have set.
  if (!setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1) setlocale(LC_CTYPE, "C.UTF-8");
  minimind_edit_line *line = calloc(1, sizeof *line);
  if (!line) return NULL;
  line->prompt = strdup(prompt);
  line->history_path = strdup(history_path);
  line->editor = el_init("minimind", stdin, stdout, stderr);
  line->history = history_init();
  if (!line->prompt || !line->history_path || !line->editor || !line->history) {
    minimind_edit_line_close(line);
    return NULL;
  }
  HistEvent event;
  history(line->history, &event, H_SETSIZE, history_size);
  history(line->history, &event, H_SETUNIQUE, 1);
  history(line->history, &event, H_LOAD, history_path);
  EditLine *editor = line->editor;
  el_set(editor, EL_CLIENTDATA, line);
  el_set(editor, EL_PROMPT_ESC, prompt_text, '\1');
  el_set(editor, EL_EDITOR, "emacs");
  el_set(editor, EL_SIGNAL, 1);
  el_set(editor, EL_HIST, history, line->history);
  // While a line is edited Ctrl-C is a key, so that it gives up the line and not the program.
  el_set(editor, EL_SETTY, "-d", "-isig", NULL);
  el_set(editor, EL_ADDFN, "minimind-interrupt", "Gives up the line", on_interrupt);
  el_set(editor, EL_ADDFN, "minimind-suspend", "Stops the program", on_suspend);
  el_set(editor, EL_BIND, "^C", "minimind-interrupt", NULL);
  el_set(editor, EL_BIND, "^Z", "minimind-suspend", NULL);
  el_set(editor, EL_BIND, "^R", "em-inc-search-prev", NULL);
  return line;
}

const char *minimind_edit_line_read(minimind_edit_line *line, minimind_line_outcome *outcome) {
  line->is_interrupted = 0;
  int count = 0;
  const char *text = el_gets(line->editor, &count);
  *outcome = line->is_interrupted ? MINIMIND_LINE_INTERRUPTED
             : text && count > 0  ? MINIMIND_LINE
                                  : MINIMIND_LINE_END;
  return *outcome == MINIMIND_LINE ? text : NULL;
}

void minimind_edit_line_remember(minimind_edit_line *line, const char *text) {
  HistEvent event;
  history(line->history, &event, H_ENTER, text);
  history(line->history, &event, H_SAVE, line->history_path);
}

void minimind_edit_line_close(minimind_edit_line *line) {
  if (line->editor) el_end(line->editor);
  if (line->history) history_end(line->history);
  free(line->prompt);
  free(line->history_path);
  free(line);
}
