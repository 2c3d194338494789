#ifndef MARQUEE_COMMON_EMBEDDED_FILE_H_
#define MARQUEE_COMMON_EMBEDDED_FILE_H_

// Makes a file a part of the program, and NAME() its text:
//
//     MARQUEE_EMBEDDED_FILE(StatusHtml, MARQUEE_STATUS_FOLDER "/status.html")
//
// At namespace level, in a source file whose OBJECT_DEPENDS names the file, so that an edit of it is noticed. Names are unique
// in a program.

#include <cstddef>
#include <string_view>

#define MARQUEE_EMBEDDED_FILE(name, file)                                                                          \
  asm("  .pushsection .rodata\nmarquee_embedded_" #name "_begin:\n  .incbin \"" file "\"\nmarquee_embedded_" #name \
      "_end:\n  .byte 0\n  .popsection\n");                                                                        \
  extern "C" {                                                                                                     \
  extern const char marquee_embedded_##name##_begin[], marquee_embedded_##name##_end[];                            \
  }                                                                                                                \
  std::string_view name() {                                                                                        \
    return {marquee_embedded_##name##_begin,                                                                       \
            static_cast<size_t>(marquee_embedded_##name##_end - marquee_embedded_##name##_begin)};                 \
  }

#endif  // MARQUEE_COMMON_EMBEDDED_FILE_H_
