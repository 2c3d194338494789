#ifndef MARQUEE_SERVING_MOVIE_ASSETS_H_
#define MARQUEE_SERVING_MOVIE_ASSETS_H_

// The files of serving/page, which are part of the program.

#include <string_view>

namespace marquee {

std::string_view MoviesHtml();
std::string_view MoviesScript();
std::string_view MoviesStyle();

}  // namespace marquee

#endif  // MARQUEE_SERVING_MOVIE_ASSETS_H_
