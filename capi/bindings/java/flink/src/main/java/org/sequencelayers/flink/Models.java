package org.sequencelayers.flink;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.sequencelayers.Layer;

/** The models of this process: all subtasks share one layer for each directory. */
final class Models {
  private static final Map<String, Models> OPEN = new HashMap<>();

  private final Layer layer;
  private int users;

  private Models(Layer layer) {
    this.layer = layer;
  }

  static synchronized Layer acquire(String directory) {
    Models model = OPEN.get(directory);
    if (model == null) {
      model = new Models(Layer.open(Path.of(directory)));
      OPEN.put(directory, model);
    }
    ++model.users;
    return model.layer;
  }

  static synchronized void release(String directory) {
    Models model = OPEN.get(directory);
    if (--model.users == 0) {
      OPEN.remove(directory);
      model.layer.close();
    }
  }
}
