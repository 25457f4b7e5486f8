// What `Serving` needs of C: libmicrohttpd, whose start is a function of variable arguments, and one question to a socket.
#include <microhttpd.h>
#include <poll.h>
#include <string.h>

/// Percent-decodes a path, unless it has a zero byte: C would not see what follows it.
static inline size_t minimind_http_unescape(void *context, struct MHD_Connection *connection, char *path) {
  (void)context, (void)connection;
  return strstr(path, "%00") ? strlen(path) : MHD_http_unescape(path);
}

/// Serves connections to `listen_socket` on one thread of its own. NULL when it cannot be started.
static inline struct MHD_Daemon *minimind_http_start(
    int listen_socket, unsigned connection_limit, size_t connection_memory, void *context,
    MHD_AccessHandlerCallback on_request, MHD_RequestCompletedCallback on_completed,
    MHD_NotifyConnectionCallback on_connection) {
  return MHD_start_daemon(
      MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_SUSPEND_RESUME, 0, NULL, NULL, on_request, context,
      MHD_OPTION_LISTEN_SOCKET, listen_socket, MHD_OPTION_CONNECTION_LIMIT, connection_limit,
      MHD_OPTION_CONNECTION_MEMORY_LIMIT, connection_memory, MHD_OPTION_STRICT_FOR_CLIENT, 1,
      MHD_OPTION_UNESCAPE_CALLBACK, minimind_http_unescape, NULL,
      MHD_OPTION_NOTIFY_COMPLETED, on_completed, context, MHD_OPTION_NOTIFY_CONNECTION, on_connection, context,
      MHD_OPTION_END);
}

/// Whether the other side of a socket has closed it or at least will not send any more.
static inline int minimind_peer_has_closed(int socket) {
  const short read_hang_up = 0x2000;  // POLLRDHUP, which glibc shows only under _GNU_SOURCE
  struct pollfd entry = {socket, read_hang_up, 0};
  return poll(&entry, 1, 0) > 0 && (entry.revents & (read_hang_up | POLLHUP | POLLERR | POLLNVAL));
}

/// The socket of a connection; -1 when it has none.
static inline int minimind_http_socket(struct MHD_Connection *connection) {
  const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  return info ? info->connect_fd : -1;
}
