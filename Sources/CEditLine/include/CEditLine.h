// What the chat needs of libedit: lines with editing and a history that outlives the program. libedit's own calls take
// variable arguments, which Swift cannot make.
#pragma once

typedef struct minimind_edit_line minimind_edit_line;

typedef enum { MINIMIND_LINE, MINIMIND_LINE_INTERRUPTED, MINIMIND_LINE_END } minimind_line_outcome;

/// Begins to edit lines on standard input and output. `prompt` may hold escape sequences between bytes of value 1.
/// The history of `history_path` is read if there is one; the last `history_size` lines are kept. NULL: no memory.
minimind_edit_line *minimind_edit_line_open(const char *prompt, const char *history_path, int history_size);

/// Reads a line, ended by a newline and valid until the next call. NULL unless `outcome` is MINIMIND_LINE.
const char *minimind_edit_line_read(minimind_edit_line *line, minimind_line_outcome *outcome);

/// Adds a line to the history and writes its file, readable by its owner only. Without a file it is kept in memory.
void minimind_edit_line_remember(minimind_edit_line *line, const char *text);

void minimind_edit_line_close(minimind_edit_line *line);
