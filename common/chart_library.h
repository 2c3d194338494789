#ifndef MARQUEE_COMMON_CHART_LIBRARY_H_
#define MARQUEE_COMMON_CHART_LIBRARY_H_

// The text of the chart library (Apache ECharts, minified JavaScript) that stands in every page with charts. It is part of the
// program, put there from the file that tools/setup fetches.

#include <string_view>

namespace marquee {

std::string_view ChartLibrary();

}  // namespace marquee

#endif  // MARQUEE_COMMON_CHART_LIBRARY_H_
