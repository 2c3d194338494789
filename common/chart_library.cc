#include "common/chart_library.h"

// The assembler copies the file as it is: as a C++ literal, a megabyte of text would be slow to compile.
asm(R"(
  .pushsection .rodata
marquee_chart_library_begin:
  .incbin ")" MARQUEE_CHART_LIBRARY R"("
marquee_chart_library_end:
  .byte 0
  .popsection
)");

extern "C" const char marquee_chart_library_begin[];
extern "C" const char marquee_chart_library_end[];

namespace marquee {

std::string_view ChartLibrary() {
  return {marquee_chart_library_begin, static_cast<size_t>(marquee_chart_library_end - marquee_chart_library_begin)};
}

}  // namespace marquee
