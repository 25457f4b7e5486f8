// Runs Sources/PJRT/attention.cu on a processor: the threads of a block as fibers, and what threads do together (copies,
// barriers, the instructions of a warp) as the PTX manual says of each. Each warp runs as far ahead of the next
// as it can, and copies arrive at once or as late as they may: a kernel that forgets to wait gives other numbers. One whose
// threads part ways is ended.
//
// test_attention_kernel.py compiles it, with the numbers that attention.cu needs, as a library whose functions run a kernel.

#include <ucontext.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

namespace {

struct Index {
  int x, y;
};

/// What a thread waits for.
enum class Wait { nothing, block, exchange, matrices, product, end };

struct Copy {
  void *target;
  const void *source;
  int bytes;
  bool isThere;

  void run() const {
    if (isThere) memcpy(target, source, bytes);
    else memset(target, 0, bytes);
  }
};

struct Thread {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(256 << 10);
  Index index;
  Wait wait;
  /// Calls of instructions of the warp: two in turn have slots of their own, since a thread can be one ahead.
  int calls;
  /// Groups of copies that have not been waited for, the last of which is still open.
  std::vector<std::vector<Copy>> copies;
};

/// What a thread gives to an instruction of its warp.
struct Slot {
  unsigned words[6];
  float number;
  const void *address;
};

std::vector<Thread> threads;
std::vector<Slot> slots;
Thread *current;
ucontext_t scheduler;
Index currentBlock;
std::function<void()> body;
/// Runs the last warp first, and copies at once in place of as late as may be: neither must change anything.
bool isReversed;

[[noreturn]] void fail(const char *reason) {
  fprintf(stderr, "emulator: %s\n", reason);
  abort();
}

void waitFor(Wait wait) {
  current->wait = wait;
  swapcontext(&current->context, &scheduler);
}

Slot &slot(int lane, int calls) { return slots[(current->index.x / 32 * 32 + lane) * 2 + calls % 2]; }

/// Gives something to the warp and waits until all have; the number of the call.
int meet(Wait wait, const Slot &given) {
  int call = current->calls++;
  slot(current->index.x % 32, call) = given;
  waitFor(wait);
  return call;
}

void start() {
  body();
  waitFor(Wait::end);
}

/// Runs a block's threads to their ends.
void runBlock() {
  int count = (int)threads.size();
  auto run = [&](int number) {
    current = &threads[isReversed ? count - 1 - number : number];
    current->wait = Wait::nothing;
    swapcontext(&scheduler, &current->context);
  };
  for (int number = 0; number < count; number++) {
    Thread &thread = threads[number];
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.data();
    thread.context.uc_stack.ss_size = thread.stack.size();
    thread.context.uc_link = nullptr;
    thread.index = {number, 0};
    thread.wait = Wait::nothing;
    thread.calls = 0;
    thread.copies.assign(1, {});
    makecontext(&thread.context, start, 0);
  }
  for (;;) {
    bool isBlock = true, isEnd = true;
    for (Thread &thread : threads) {
      isBlock &= thread.wait == Wait::block;
      isEnd &= thread.wait == Wait::end;
    }
    if (isEnd) return;
    if (isBlock)
      for (Thread &thread : threads) thread.wait = Wait::nothing;
    // Each warp goes as far as it can before the next does anything.
    bool hasRun = false;
    for (int warp = 0; warp < count; warp += 32)
      for (;;) {
        int first = isReversed ? count - 32 - warp : warp;
        Wait wait = threads[first].wait;
        for (int lane = 1; lane < 32; lane++)
          if (threads[first + lane].wait != wait) fail("the threads of a warp do different things");
        if (wait == Wait::block || wait == Wait::end) break;
        hasRun = true;
        for (int lane = 0; lane < 32; lane++) run(warp + lane);
      }
    if (!hasRun) fail("some threads have ended, and others wait for them");
  }
}

}  // namespace

// MARK: - CUDA's words

#define EMULATED
#define DEVICE static inline
#define __global__
#define __launch_bounds__(count)
#define __shared__ static
#define __align__(bytes) __attribute__((aligned(bytes)))
#define threadIdx (current->index)
#define blockIdx currentBlock

static void __syncthreads() { waitFor(Wait::block); }

static void multiply(float sums[4], const unsigned left[4], const unsigned right[2]) {
  Slot given = {};
  memcpy(given.words, left, 16);
  memcpy(given.words + 4, right, 8);
  int call = meet(Wait::product, given), lane = current->index.x % 32;
  auto number = [](unsigned word, int half) {
    unsigned bits = half ? word & 0xFFFF0000 : word << 16;
    float result;
    memcpy(&result, &bits, 4);
    return result;
  };
  for (int place = 0; place < 4; place++) {
    // c0 and c1 are of row lane / 4, c2 and c3 of the one 8 below; columns 2·(lane % 4) and the next.
    int row = lane / 4 + place / 2 * 8, column = lane % 4 * 2 + place % 2;
    // In double, and rounded once, where a tensor core may round oftener.
    double sum = sums[place];
    for (int k = 0; k < 16; k++) {
      // a: row % 8 and k / 2 % 4 say the thread, row / 8 and k / 8 the word, k % 2 the half; b: column and k likewise.
      unsigned a = slot(row % 8 * 4 + k % 8 / 2, call).words[row / 8 + k / 8 * 2];
      unsigned b = slot(column * 4 + k % 8 / 2, call).words[4 + k / 8];
      sum += (double)number(a, k % 2) * number(b, k % 2);
    }
    sums[place] = (float)sum;
  }
}

static void loadMatrices(unsigned words[4], const unsigned short *row, bool isTransposed) {
  if ((size_t)row % 16) fail("ldmatrix of a row that does not begin at 16 bytes");
  Slot given = {};
  given.address = row;
  int call = meet(Wait::matrices, given), lane = current->index.x % 32;
  for (int matrix = 0; matrix < 4; matrix++) {
    unsigned word = 0;
    for (int half = 0; half < 2; half++) {
      // A thread has two neighbours of row lane / 4; of the transposed matrix, of column lane / 4.
      int row = isTransposed ? lane % 4 * 2 + half : lane / 4, column = isTransposed ? lane / 4 : lane % 4 * 2 + half;
      word |= (unsigned)((const unsigned short *)slot(matrix * 8 + row, call).address)[column] << 16 * half;
    }
    words[matrix] = word;
  }
}
static void load(unsigned words[4], const unsigned short *row) { loadMatrices(words, row, false); }
static void loadTransposed(unsigned words[4], const unsigned short *row) { loadMatrices(words, row, true); }

static void copy(const Copy &copy) {
  if (isReversed) copy.run();
  else current->copies.back().push_back(copy);
}
static void copyChunk(void *target, const void *source, bool isThere) {
  if (((size_t)target | (size_t)source) % 16) fail("a copy of 16 bytes from or to another place than a multiple of them");
  copy({target, source, 16, isThere});
}
static void copyWord(void *target, const void *source, bool isThere) {
  copy({target, source, 4, isThere});
}
static void endCopies() { current->copies.push_back({}); }
static void waitForCopies() {
  auto &copies = current->copies;
  while (copies.size() > 2) {
    for (const Copy &copy : copies[0]) copy.run();
    copies.erase(copies.begin());
  }
}

static unsigned pack(float first, float second) {
  auto rounded = [](float x) {
    unsigned bits;
    memcpy(&bits, &x, 4);
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
  };
  return rounded(first) | rounded(second) << 16;
}
static float fromBits(unsigned bits) {
  float result;
  memcpy(&result, &bits, 4);
  return result;
}
static float exchanged(float x, int mask) {
  Slot given = {};
  given.number = x;
  int call = meet(Wait::exchange, given);
  return slot(current->index.x % 32 ^ mask, call).number;
}
static float power(float x) { return exp2f(x); }
static float logarithm(float x) { return log2f(x); }

#include "../../Sources/PJRT/attention.cu"

static void run(int heads, int reverses, std::function<void()> kernel) {
  body = kernel;
  isReversed = reverses;
  threads = std::vector<Thread>(THREADS);
  slots.assign(2 * THREADS, {});
  for (int y = 0; y < heads; y++)
    for (int x = 0; x < (TOKENS + ROWS - 1) / ROWS; x++) {
      currentBlock = {x, y};
      runBlock();
    }
}

extern "C" void run_forward(
    const void *queries, const void *keys, const void *values, const int *documents, float *result, int reverses) {
  run(HEADS, reverses, [=] {
    attention_forward((const Element *)queries, (const Element *)keys, (const Element *)values, documents, result);
  });
}

extern "C" void run_queries(
    const void *queries, const void *keys, const void *values, const int *documents, const void *dOutput, const float *logs,
    const float *averages, float *result, int reverses) {
  run(HEADS, reverses, [=] {
    attention_queries(
        (const Element *)queries, (const Element *)keys, (const Element *)values, documents, (const Element *)dOutput, logs,
        averages, result);
  });
}

extern "C" void run_keys_values(
    const void *queries, const void *keys, const void *values, const int *documents, const void *dOutput, const float *logs,
    const float *averages, float *result, int reverses) {
  run(GROUPS, reverses, [=] {
    attention_keys_values(
        (const Element *)queries, (const Element *)keys, (const Element *)values, documents, (const Element *)dOutput, logs,
        averages, result);
  });
}
