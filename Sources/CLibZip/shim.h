// What `ModelFiles` needs of C: libzip, for the archives that `torch.save` writes.
#include <zip.h>
