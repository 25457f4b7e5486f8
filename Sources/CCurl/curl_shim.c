#include "CCurl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

// curl/curl.h and curl/urlapi.h.
enum {
  optionWriteData = 10001,
  optionProxy = 10004,
  optionUserAgent = 10018,
  optionFollowLocation = 52,
  optionNoSignal = 99,
  optionTimeoutMilliseconds = 155,
  optionConnectTimeoutMilliseconds = 156,
  optionOpenSocketData = 10164,
  optionProtocols = 181,
  optionParsedURL = 10282,
  optionWriteFunction = 20011,
  optionOpenSocketFunction = 20163,
  protocolHTTP = 1,
  protocolHTTPS = 2,
  infoResponseCode = 0x200002,
  infoContentType = 0x100012,
  globalDefault = 3,
  partURL = 0,
  partScheme = 1,
  partUser = 2,
  partPassword = 3,
  partHost = 5,
  partPort = 6,
  flagDefaultPort = 1,
  purposeConnection = 0,
  codeFailedInit = 2,
};

struct curlAddress {
  int family;
  int kind;
  int protocol;
  unsigned int length;
  struct sockaddr address;
};

static void *library;
static const char *loadError;
static pthread_once_t loading = PTHREAD_ONCE_INIT;

static struct {
  int (*globalInit)(long);
  void *(*easyInit)(void);
  int (*setOption)(void *, int, ...);
  int (*perform)(void *);
  int (*getInfo)(void *, int, ...);
  void (*cleanup)(void *);
  const char *(*message)(int);
  void *(*url)(void);
  int (*urlSet)(void *, int, const char *, unsigned int);
  int (*urlGet)(void *, int, char **, unsigned int);
  void (*urlCleanup)(void *);
  void (*release)(void *);
} curl;

static int find(const char *name, void *place) {
  void *symbol = dlsym(library, name);
  if (symbol == NULL) return 0;
  *(void **)place = symbol;
  return 1;
}

static void load(void) {
  library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    loadError = dlerror();
    return;
  }
  int isWhole = find("curl_global_init", &curl.globalInit) && find("curl_easy_init", &curl.easyInit) &&
      find("curl_easy_setopt", &curl.setOption) && find("curl_easy_perform", &curl.perform) &&
      find("curl_easy_getinfo", &curl.getInfo) && find("curl_easy_cleanup", &curl.cleanup) &&
      find("curl_easy_strerror", &curl.message) && find("curl_url", &curl.url) &&
      find("curl_url_set", &curl.urlSet) && find("curl_url_get", &curl.urlGet) &&
      find("curl_url_cleanup", &curl.urlCleanup) && find("curl_free", &curl.release);
  if (!isWhole) {
    loadError = "libcurl.so.4 lacks functions; 7.63 or newer is needed";
  } else if (curl.globalInit(globalDefault) != 0) {
    loadError = "libcurl does not start";
  }
}

const char *ccLoad(void) {
  pthread_once(&loading, load);
  return loadError;
}

/// Copies a part of a URL; returns its length, 0 for none, or -1 where there is no room for it.
static int copyPart(void *url, int part, unsigned int flags, char *target, size_t room) {
  char *text = NULL;
  if (curl.urlGet(url, part, &text, flags) != 0 || text == NULL) return 0;
  size_t length = strlen(text);
  int isFit = length < room;
  if (isFit) memcpy(target, text, length + 1);
  curl.release(text);
  return isFit ? (int)length : -1;
}

static int hasPart(void *url, int part) {
  char *text = NULL;
  if (curl.urlGet(url, part, &text, 0) != 0) return 0;
  curl.release(text);
  return 1;
}

int ccParse(const char *text, CCParts *parts) {
  memset(parts, 0, sizeof *parts);
  void *url = curl.url();
  if (url == NULL) return codeFailedInit;
  int code = curl.urlSet(url, partURL, text, 0);
  if (code == 0) {
    char port[8] = "";
    int isRead = copyPart(url, partScheme, 0, parts->scheme, sizeof parts->scheme) > 0 &&
        copyPart(url, partHost, 0, parts->host, sizeof parts->host) > 0 &&
        copyPart(url, partPort, flagDefaultPort, port, sizeof port) > 0;
    if (!isRead) code = codeFailedInit;
    parts->port = atoi(port);
    parts->hasUser = hasPart(url, partUser) || hasPart(url, partPassword);
  }
  curl.urlCleanup(url);
  return code;
}

static int openSocket(void *context, int purpose, struct curlAddress *address) {
  const CCRequest *request = context;
  if (purpose != purposeConnection || !request->allows(request->context, &address->address)) return -1;
  return socket(address->family, address->kind | SOCK_CLOEXEC, address->protocol);
}

struct transfer {
  const CCRequest *request;
  void *handle;
};

static size_t write(const char *bytes, size_t size, size_t count, void *context) {
  const struct transfer *transfer = context;
  long status = 0;
  char *contentType = NULL;
  curl.getInfo(transfer->handle, infoResponseCode, &status);
  curl.getInfo(transfer->handle, infoContentType, &contentType);
  const CCRequest *request = transfer->request;
  int goesOn = request->takes(request->context, status, contentType, (const uint8_t *)bytes, size * count);
  return goesOn ? size * count : 0;
}

CCResult ccFetch(const CCRequest *request) {
  CCResult result = {.code = codeFailedInit};
  void *handle = curl.easyInit();
  void *url = curl.url();
  struct transfer transfer = {.request = request, .handle = handle};
  if (handle != NULL && url != NULL && curl.urlSet(url, partURL, request->url, 0) == 0) {
    int code = curl.setOption(handle, optionParsedURL, url);
    code |= curl.setOption(handle, optionProtocols, (long)(protocolHTTP | protocolHTTPS));
    code |= curl.setOption(handle, optionFollowLocation, 0L);
    // Not even the one that the environment names: it would resolve names by itself.
    code |= curl.setOption(handle, optionProxy, "");
    code |= curl.setOption(handle, optionUserAgent, "minimind");
    code |= curl.setOption(handle, optionNoSignal, 1L);
    code |= curl.setOption(handle, optionTimeoutMilliseconds, (long)request->milliseconds);
    code |= curl.setOption(handle, optionConnectTimeoutMilliseconds, (long)request->milliseconds);
    code |= curl.setOption(handle, optionOpenSocketFunction, openSocket);
    code |= curl.setOption(handle, optionOpenSocketData, request);
    code |= curl.setOption(handle, optionWriteFunction, write);
    code |= curl.setOption(handle, optionWriteData, &transfer);
    result.code = code == 0 ? curl.perform(handle) : codeFailedInit;
    long status = 0;
    if (curl.getInfo(handle, infoResponseCode, &status) == 0) result.status = status;
  }
  if (handle != NULL) curl.cleanup(handle);
  if (url != NULL) curl.urlCleanup(url);
  return result;
}

const char *ccMessage(int32_t code) { return curl.message(code); }
