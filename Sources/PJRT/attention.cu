// Causal attention within documents that lie end to end, with grouped heads, forward and backward, without a score ever going
// to memory: FlashAttention (Dao et al. 2022, 2023; arXiv 2205.14135 and 2307.08691).
//
//     s = q·kᵀ/√d        a = softmax(s) over the tokens that are seen        o = a·v        l = log Σ exp s
//     v̄ = aᵀ·ō           ā = ō·vᵀ           s̄ = a·(ā - Σ a·ā)/√d           q̄ = s̄·k           k̄ = s̄ᵀ·q
//
// NVRTC compiles this text when a program needs it (`KernelCompiler`), with these numbers defined: PASS, which of the three
// kernels; TOKENS; HEADS of queries and GROUPS of keys, which divide them; SIZE of a head, a multiple of 16; SCALE, 1/√SIZE;
// FLOAT32, 1 where the operands are float32 and 0 where they are bfloat16. For a processor the tests compile it, with EMULATED
// defined, the functions of "Instructions" in plain loops, and all three kernels.
//
// A block of threads has WARPS · 16 rows of its own, queries or keys, a warp 16 of them. It goes through the rows that these
// see, or that see these, COLUMNS at a time: a tile. While it computes with one tile, the next comes into shared memory. Every
// sum has one order, so two runs have the same bits. Documents are numbered in order; those of number TOKENS and above are
// padding: they see nothing, and all that they get is 0.

#if FLOAT32
typedef float Element;
enum { PARTS = 3, WARPS = 1, COLUMNS = 16 };
#else
typedef unsigned short Element;
enum { PARTS = 1, WARPS = SIZE <= 96 ? 4 : 2, COLUMNS = SIZE <= 64 ? 32 : 16 };
#endif

typedef unsigned int Word;
struct alignas(8) Pair {
  float first, second;
};

/// `CHUNK` elements are 16 bytes, which are copied at once. A row of a tile has as many more, so that eight rows begin in
/// different banks of shared memory.
enum { ROWS = 16 * WARPS, THREADS = 32 * WARPS, CHUNK = 16 / sizeof(Element), STRIDE = SIZE + CHUNK };

// MARK: - Instructions

#ifndef EMULATED

#define DEVICE static __device__ __forceinline__

/// sums += left · right, of 16 rows and 16 columns by 16 rows and 8 columns of bfloat16. What a thread has of each is in the
/// PTX manual, "Matrix Fragments for mma.m16n8k16".
DEVICE void multiply(float sums[4], const Word left[4], const Word right[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]));
}

/// Four matrices of 8 rows of 16 bytes each; thread i gives the address of row i % 8 of matrix i / 8.
DEVICE void load(Word words[4], const Element *row) {
  Word address = (Word)__cvta_generic_to_shared(row);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3]) : "r"(address) : "memory");
}

/// The same, each matrix transposed.
DEVICE void loadTransposed(Word words[4], const Element *row) {
  Word address = (Word)__cvta_generic_to_shared(row);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3]) : "r"(address) : "memory");
}

/// Copies 16 bytes into shared memory, or zeros where `isThere` is false, and 4 bytes. They are there after `waitForCopies`.
DEVICE void copyChunk(void *shared, const void *source, bool isThere) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               : : "r"((Word)__cvta_generic_to_shared(shared)), "l"(source), "r"(isThere ? 16 : 0) : "memory");
}
DEVICE void copyWord(void *shared, const void *source, bool isThere) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
               : : "r"((Word)__cvta_generic_to_shared(shared)), "l"(source), "r"(isThere ? 4 : 0) : "memory");
}

/// Ends a group of copies.
DEVICE void endCopies() { asm volatile("cp.async.commit_group;" : : : "memory"); }

/// Waits for all of the thread's groups but the last.
DEVICE void waitForCopies() { asm volatile("cp.async.wait_group 1;" : : : "memory"); }

/// Two numbers as bfloat16, rounded to nearest, ties to even; the first in the lower half.
DEVICE Word pack(float first, float second) {
  Word words;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(words) : "f"(second), "f"(first));
  return words;
}

DEVICE float fromBits(Word bits) { return __uint_as_float(bits); }

/// x of the thread whose number in the warp differs in the bits of `mask`.
DEVICE float exchanged(float x, int mask) { return __shfl_xor_sync(0xFFFFFFFF, x, mask); }

/// 2ˣ and log₂ x.
DEVICE float power(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
DEVICE float logarithm(float x) { return __log2f(x); }

#endif

// MARK: - Fragments

/// What a thread has of 16 rows and 16 columns, as words of two bfloat16 for `multiply`. A float is the sum of PARTS of them.
struct Fragment {
  Word words[PARTS][4];
};

/// Of two neighbours in a row.
DEVICE void split(Fragment &fragment, int place, float first, float second) {
  for (int part = 0; part < PARTS; part++) {
    Word word = pack(first, second);
    fragment.words[part][place] = word;
    first -= fromBits(word << 16);
    second -= fromBits(word & 0xFFFF0000);
  }
}

/// From sums of `multiply`: two of them, for 8 columns each, are 16 columns.
DEVICE Fragment fragmentOf(const float sums[2][4]) {
  Fragment fragment;
  for (int place = 0; place < 4; place++) {
    const float *pair = sums[place / 2] + place % 2 * 2;
    split(fragment, place, pair[0], pair[1]);
  }
  return fragment;
}

/// Of the 16 rows and 16 columns of a tile that begin at `corner`: the left operand, or with `isRight` a right one for 16 rows
/// of the result, whose columns they are; the first two words are for 8 of them.
DEVICE Fragment fragmentAt(const Element *corner, bool isRight) {
  Fragment fragment;
  int lane = threadIdx.x % 32;
#if FLOAT32
  for (int place = 0; place < 4; place++) {
    bool isLower = isRight ? place / 2 : place % 2, isLater = isRight ? place % 2 : place / 2;
    const float *pair = corner + (lane / 4 + 8 * isLower) * STRIDE + lane % 4 * 2 + 8 * isLater;
    split(fragment, place, pair[0], pair[1]);
  }
#else
  bool isLower = isRight ? lane / 16 : lane / 8 % 2, isLater = isRight ? lane / 8 % 2 : lane / 16;
  load(fragment.words[0], corner + (lane % 8 + 8 * isLower) * STRIDE + 8 * isLater);
#endif
  return fragment;
}

/// A right operand as it lies: 16 rows to sum over, and 16 columns of the result.
DEVICE Fragment transposedFragmentAt(const Element *corner) {
  Fragment fragment;
  int lane = threadIdx.x % 32;
#if FLOAT32
  for (int place = 0; place < 4; place++) {
    const float *above = corner + (lane % 4 * 2 + 8 * (place % 2)) * STRIDE + lane / 4 + 8 * (place / 2);
    split(fragment, place, above[0], above[STRIDE]);
  }
#else
  loadTransposed(fragment.words[0], corner + lane % 16 * STRIDE + lane / 16 * 8);
#endif
  return fragment;
}

/// sums += left · right for 16 columns. Of floats, products of parts smaller than the last place of a float are left out.
DEVICE void addProduct(float sums[2][4], const Fragment &left, const Fragment &right) {
#pragma unroll
  for (int leftPart = PARTS - 1; leftPart >= 0; leftPart--)
#pragma unroll
    for (int rightPart = PARTS - 1 - leftPart; rightPart >= 0; rightPart--) {
      multiply(sums[0], left.words[leftPart], right.words[rightPart]);
      multiply(sums[1], left.words[leftPart], right.words[rightPart] + 2);
    }
}

// MARK: - Tiles

/// What a thread has of sums: of two rows, 8 apart, two neighbours in every 8 columns.
typedef float Scores[COLUMNS / 8][4];
typedef float Sums[SIZE / 8][4];

/// The warp's own rows times those of a tile: own · tileᵀ.
DEVICE void setScores(Scores scores, const Element *own, const Element *tile) {
#pragma unroll
  for (int column = 0; column < COLUMNS / 8; column++)
    for (int place = 0; place < 4; place++) scores[column][place] = 0;
#pragma unroll
  for (int step = 0; step < SIZE; step += 16) {
    Fragment left = fragmentAt(own + threadIdx.x / 32 * 16 * STRIDE + step, false);
#pragma unroll
    for (int column = 0; column < COLUMNS; column += 16)
      addProduct(scores + column / 8, left, fragmentAt(tile + column * STRIDE + step, true));
  }
}

/// sums += weights · tile
DEVICE void addRows(Sums sums, const Scores weights, const Element *tile) {
#pragma unroll
  for (int row = 0; row < COLUMNS; row += 16) {
    Fragment left = fragmentOf(weights + row / 8);
#pragma unroll
    for (int column = 0; column < SIZE; column += 16)
      addProduct(sums + column / 8, left, transposedFragmentAt(tile + row * STRIDE + column));
  }
}

/// Begins to copy rows of one head into a tile: [count, SIZE] of [TOKENS, heads, SIZE].
DEVICE void copyRows(Element *tile, const Element *source, int first, int count, int heads, int head) {
  const int chunks = SIZE / CHUNK;
  for (int chunk = threadIdx.x; chunk < count * chunks; chunk += THREADS) {
    int row = chunk / chunks, column = chunk % chunks * CHUNK;
    bool isThere = first + row < TOKENS;
    long long place = isThere ? ((long long)(first + row) * heads + head) * SIZE + column : 0;
    copyChunk(tile + row * STRIDE + column, source + place, isThere);
  }
}

/// Begins to copy a word of each row of a tile, of one head: [COLUMNS] of [TOKENS, heads]. Beyond all rows they are 0.
DEVICE void copyWords(void *words, const void *source, int first, int heads, int head) {
  for (int row = threadIdx.x; row < COLUMNS; row += THREADS) {
    bool isThere = first + row < TOKENS;
    copyWord((Word *)words + row, (const Word *)source + (isThere ? (first + row) * heads + head : 0), isThere);
  }
}

/// Begins to copy a tile of the rows that queries see: keys, values and their documents.
DEVICE void copySeen(
    Element *keyTile, Element *valueTile, int *documentTile, const Element *keys, const Element *values, const int *documents,
    int tile, int group) {
  copyRows(keyTile, keys, tile * COLUMNS, COLUMNS, GROUPS, group);
  copyRows(valueTile, values, tile * COLUMNS, COLUMNS, GROUPS, group);
  copyWords(documentTile, documents, tile * COLUMNS, 1, 0);
}

/// Writes the warp's own rows of one head: [ROWS, SIZE] of [TOKENS, heads, SIZE].
DEVICE void writeRows(float *target, const Sums sums, const float factors[2], int first, int heads, int head) {
  int lane = threadIdx.x % 32;
  for (int half = 0; half < 2; half++) {
    int row = first + threadIdx.x / 32 * 16 + lane / 4 + 8 * half;
    if (row >= TOKENS) continue;
    float *line = target + ((long long)row * heads + head) * SIZE + lane % 4 * 2;
#pragma unroll
    for (int column = 0; column < SIZE / 8; column++) {
      *(Pair *)(line + 8 * column) = {sums[column][2 * half] * factors[half], sums[column][2 * half + 1] * factors[half]};
    }
  }
}

DEVICE void clear(Sums sums) {
#pragma unroll
  for (int column = 0; column < SIZE / 8; column++)
    for (int place = 0; place < 4; place++) sums[column][place] = 0;
}

/// The document of a row; beyond all rows the padding's.
DEVICE int documentOf(const int *documents, int row) { return row < TOKENS ? documents[row] : TOKENS; }

/// Whether a query sees a key. Documents are in order, so the key's cannot be a later one.
DEVICE bool sees(int query, int queryDocument, int key, int keyDocument) {
  return key <= query && keyDocument == queryDocument && queryDocument < TOKENS;
}

/// The first tile that the last own row is in, and whether the queries from `first` on see a key of another tile.
DEVICE int lastTile(int first) { return ((first + ROWS < TOKENS ? first + ROWS : TOKENS) - 1) / COLUMNS; }
DEVICE bool isSeen(const int *documents, int tile, int document) {
  if (tile < 0 || document >= TOKENS) return false;
  int last = tile * COLUMNS + COLUMNS - 1;
  return documentOf(documents, last < TOKENS ? last : TOKENS - 1) >= document;
}

/// Scores are multiplied by 1/√d and log₂ e at once, since powers are of 2.
DEVICE float binaryScale() { return SCALE * 1.44269504088896f; }
DEVICE float minusInfinity() { return fromBits(0xFF800000); }

// MARK: - Kernels

#if defined(EMULATED) || PASS == 0
/// o, [TOKENS, HEADS, SIZE], and after it l, [TOKENS, HEADS].
extern "C" __global__ void __launch_bounds__(THREADS) attention_forward(
    const Element *queries, const Element *keys, const Element *values, const int *documents, float *result) {
  __shared__ __align__(16) Element own[ROWS * STRIDE];
  __shared__ __align__(16) Element keyTiles[2][COLUMNS * STRIDE], valueTiles[2][COLUMNS * STRIDE];
  __shared__ int documentTiles[2][COLUMNS];
  const int first = blockIdx.x * ROWS, head = blockIdx.y, group = head / (HEADS / GROUPS), lane = threadIdx.x % 32;
  const int row = first + threadIdx.x / 32 * 16 + lane / 4;
  const int ownDocuments[2] = {documentOf(documents, row), documentOf(documents, row + 8)};
  const int firstDocument = documentOf(documents, first);
  Sums output;
  clear(output);
  float largest[2] = {minusInfinity(), minusInfinity()}, total[2] = {0, 0};

  int tile = lastTile(first), stage = 0;
  bool goesOn = isSeen(documents, tile, firstDocument);
  copyRows(own, queries, first, ROWS, HEADS, head);
  if (goesOn) copySeen(keyTiles[0], valueTiles[0], documentTiles[0], keys, values, documents, tile, group);
  endCopies();
  while (goesOn) {
    bool hasNext = isSeen(documents, tile - 1, firstDocument);
    if (hasNext) {
      const int next = 1 - stage;
      copySeen(keyTiles[next], valueTiles[next], documentTiles[next], keys, values, documents, tile - 1, group);
    }
    endCopies();
    waitForCopies();
    __syncthreads();

    Scores scores;
    setScores(scores, own, keyTiles[stage]);
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float most = largest[half];
#pragma unroll
      for (int column = 0; column < COLUMNS / 8; column++)
#pragma unroll
        for (int side = 0; side < 2; side++) {
          int key = 8 * column + lane % 4 * 2 + side;
          float &score = scores[column][2 * half + side];
          bool isKept = sees(row + 8 * half, ownDocuments[half], tile * COLUMNS + key, documentTiles[stage][key]);
          score = isKept ? score * binaryScale() : minusInfinity();
          most = fmaxf(most, score);
        }
      // The four threads that share a row.
      most = fmaxf(most, exchanged(most, 1));
      most = fmaxf(most, exchanged(most, 2));
      float base = most == minusInfinity() ? 0 : most, shrunk = power(largest[half] - base), sum = 0;
      largest[half] = most;
#pragma unroll
      for (int column = 0; column < COLUMNS / 8; column++)
#pragma unroll
        for (int side = 0; side < 2; side++) {
          float &score = scores[column][2 * half + side];
          score = power(score - base);
          sum += score;
        }
      total[half] = total[half] * shrunk + sum;
#pragma unroll
      for (int column = 0; column < SIZE / 8; column++) {
        output[column][2 * half] *= shrunk;
        output[column][2 * half + 1] *= shrunk;
      }
    }
    addRows(output, scores, valueTiles[stage]);
    __syncthreads();
    tile--;
    stage = 1 - stage;
    goesOn = hasNext;
  }

  float factors[2];
  for (int half = 0; half < 2; half++) {
    total[half] += exchanged(total[half], 1);
    total[half] += exchanged(total[half], 2);
    bool isPadding = total[half] == 0;
    factors[half] = isPadding ? 0 : 1 / total[half];
    float log = isPadding ? 0 : (largest[half] + logarithm(total[half])) * 0.693147180559945f;
    if (lane % 4 == 0 && row + 8 * half < TOKENS)
      result[(long long)TOKENS * HEADS * SIZE + (row + 8 * half) * HEADS + head] = log;
  }
  writeRows(result, output, factors, first, HEADS, head);
}

#endif

/// The scores of a tile and ā become a and s̄, by l and Σ a·ā of a query.
DEVICE void differentiate(float &score, float &gradient, bool isKept, float log, float average) {
  score = isKept ? power(score * binaryScale() - log * 1.44269504088896f) : 0;
  gradient = score * (gradient - average) * SCALE;
}

#if defined(EMULATED) || PASS == 1
/// q̄, [TOKENS, HEADS, SIZE].
///
/// - Parameters:
///   - dOutput: ō, [TOKENS, HEADS, SIZE].
///   - logs: l, [TOKENS, HEADS]; averages: Σ a·ā, which is ō·o, likewise.
extern "C" __global__ void __launch_bounds__(THREADS) attention_queries(
    const Element *queries, const Element *keys, const Element *values, const int *documents, const Element *dOutput,
    const float *logs, const float *averages, float *result) {
  __shared__ __align__(16) Element own[ROWS * STRIDE], ownGradients[ROWS * STRIDE];
  __shared__ __align__(16) Element keyTiles[2][COLUMNS * STRIDE], valueTiles[2][COLUMNS * STRIDE];
  __shared__ int documentTiles[2][COLUMNS];
  const int first = blockIdx.x * ROWS, head = blockIdx.y, group = head / (HEADS / GROUPS), lane = threadIdx.x % 32;
  const int row = first + threadIdx.x / 32 * 16 + lane / 4;
  const int ownDocuments[2] = {documentOf(documents, row), documentOf(documents, row + 8)};
  const int firstDocument = documentOf(documents, first);
  float ownLogs[2], ownAverages[2];
  for (int half = 0; half < 2; half++) {
    bool isThere = row + 8 * half < TOKENS;
    ownLogs[half] = isThere ? logs[(row + 8 * half) * HEADS + head] : 0;
    ownAverages[half] = isThere ? averages[(row + 8 * half) * HEADS + head] : 0;
  }
  Sums dQueries;
  clear(dQueries);

  int tile = lastTile(first), stage = 0;
  bool goesOn = isSeen(documents, tile, firstDocument);
  copyRows(own, queries, first, ROWS, HEADS, head);
  copyRows(ownGradients, dOutput, first, ROWS, HEADS, head);
  if (goesOn) copySeen(keyTiles[0], valueTiles[0], documentTiles[0], keys, values, documents, tile, group);
  endCopies();
  while (goesOn) {
    bool hasNext = isSeen(documents, tile - 1, firstDocument);
    if (hasNext) {
      const int next = 1 - stage;
      copySeen(keyTiles[next], valueTiles[next], documentTiles[next], keys, values, documents, tile - 1, group);
    }
    endCopies();
    waitForCopies();
    __syncthreads();

    Scores scores, dScores;
    setScores(scores, own, keyTiles[stage]);
    setScores(dScores, ownGradients, valueTiles[stage]);
#pragma unroll
    for (int column = 0; column < COLUMNS / 8; column++)
#pragma unroll
      for (int place = 0; place < 4; place++) {
        int half = place / 2, key = 8 * column + lane % 4 * 2 + place % 2;
        bool isKept = sees(row + 8 * half, ownDocuments[half], tile * COLUMNS + key, documentTiles[stage][key]);
        differentiate(scores[column][place], dScores[column][place], isKept, ownLogs[half], ownAverages[half]);
      }
    addRows(dQueries, dScores, keyTiles[stage]);
    __syncthreads();
    tile--;
    stage = 1 - stage;
    goesOn = hasNext;
  }
  const float factors[2] = {1, 1};
  writeRows(result, dQueries, factors, first, HEADS, head);
}

#endif

#if defined(EMULATED) || PASS == 2
/// k̄ and v̄, [2, TOKENS, GROUPS, SIZE], from the operands of `attention_queries`. The block's own rows are keys; its tiles are
/// the queries of every head of their group, one head after another.
extern "C" __global__ void __launch_bounds__(THREADS) attention_keys_values(
    const Element *queries, const Element *keys, const Element *values, const int *documents, const Element *dOutput,
    const float *logs, const float *averages, float *result) {
  __shared__ __align__(16) Element own[ROWS * STRIDE], ownValues[ROWS * STRIDE];
  __shared__ __align__(16) Element queryTiles[2][COLUMNS * STRIDE], gradientTiles[2][COLUMNS * STRIDE];
  __shared__ int documentTiles[2][COLUMNS];
  __shared__ float logTiles[2][COLUMNS], averageTiles[2][COLUMNS];
  const int first = blockIdx.x * ROWS, group = blockIdx.y, lane = threadIdx.x % 32;
  const int row = first + threadIdx.x / 32 * 16 + lane / 4;
  const int ownDocuments[2] = {documentOf(documents, row), documentOf(documents, row + 8)};
  Sums dKeys, dValues;
  clear(dKeys);
  clear(dValues);

  // The tiles from the one of the first own row to that of the last token which sees an own row.
  const int firstTile = first / COLUMNS;
  const int lastDocument = documentOf(documents, (first + ROWS < TOKENS ? first + ROWS : TOKENS) - 1);
  int tile = firstTile, head = group * (HEADS / GROUPS), stage = 0;
  const int headsEnd = head + HEADS / GROUPS;
  bool goesOn = documentOf(documents, first) < TOKENS;
  copyRows(own, keys, first, ROWS, GROUPS, group);
  copyRows(ownValues, values, first, ROWS, GROUPS, group);
  if (goesOn) {
    copyRows(queryTiles[0], queries, tile * COLUMNS, COLUMNS, HEADS, head);
    copyRows(gradientTiles[0], dOutput, tile * COLUMNS, COLUMNS, HEADS, head);
    copyWords(documentTiles[0], documents, tile * COLUMNS, 1, 0);
    copyWords(logTiles[0], logs, tile * COLUMNS, HEADS, head);
    copyWords(averageTiles[0], averages, tile * COLUMNS, HEADS, head);
  }
  endCopies();
  while (goesOn) {
    int nextTile = tile + 1, nextHead = head;
    int nextDocument = documentOf(documents, nextTile * COLUMNS);
    if (nextDocument >= TOKENS || nextDocument > lastDocument) {
      nextTile = firstTile;
      nextHead = head + 1;
    }
    bool hasNext = nextHead < headsEnd;
    if (hasNext) {
      copyRows(queryTiles[1 - stage], queries, nextTile * COLUMNS, COLUMNS, HEADS, nextHead);
      copyRows(gradientTiles[1 - stage], dOutput, nextTile * COLUMNS, COLUMNS, HEADS, nextHead);
      copyWords(documentTiles[1 - stage], documents, nextTile * COLUMNS, 1, 0);
      copyWords(logTiles[1 - stage], logs, nextTile * COLUMNS, HEADS, nextHead);
      copyWords(averageTiles[1 - stage], averages, nextTile * COLUMNS, HEADS, nextHead);
    }
    endCopies();
    waitForCopies();
    __syncthreads();

    Scores scores, dScores;
    setScores(scores, own, queryTiles[stage]);
    setScores(dScores, ownValues, gradientTiles[stage]);
#pragma unroll
    for (int column = 0; column < COLUMNS / 8; column++)
#pragma unroll
      for (int place = 0; place < 4; place++) {
        int half = place / 2, query = 8 * column + lane % 4 * 2 + place % 2;
        bool isThere = tile * COLUMNS + query < TOKENS;
        bool isKept =
            isThere && sees(tile * COLUMNS + query, documentTiles[stage][query], row + 8 * half, ownDocuments[half]);
        differentiate(
            scores[column][place], dScores[column][place], isKept, logTiles[stage][query], averageTiles[stage][query]);
      }
    addRows(dValues, scores, gradientTiles[stage]);
    addRows(dKeys, dScores, queryTiles[stage]);
    __syncthreads();
    tile = nextTile;
    head = nextHead;
    stage = 1 - stage;
    goesOn = hasNext;
  }
  const float factors[2] = {1, 1};
  writeRows(result, dKeys, factors, first, GROUPS, group);
  writeRows(result + (long long)TOKENS * GROUPS * SIZE, dValues, factors, first, GROUPS, group);
}
#endif
