import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginsLoader;

/**
 * Runs one Elasticsearch node until it is terminated. Elasticsearch's own launcher is not on Maven Central.
 *
 * <p>Arguments: the folder of the modules, then settings as name=value; path.home must be among them.
 */
public final class ElasticsearchNode {
  private static final String NAME = "testbed-1";

  public static void main(String[] arguments) throws Exception {
    Settings.Builder settings = Settings.builder()
        .put("cluster.name", "testbed")
        .put("node.name", NAME)
        .put("network.host", "127.0.0.1")
        .put("discovery.type", "single-node")
        .put("cluster.routing.allocation.disk.threshold_enabled", false);
    for (int i = 1; i < arguments.length; i++) {
      String[] setting = arguments[i].split("=", 2);
      if (setting[0].equals("http.host")) {
        settings.putList(setting[0], setting[1].split(","));
      } else {
        settings.put(setting[0], setting[1]);
      }
    }
    LogConfigurator.registerErrorListener();
    LogConfigurator.setNodeName(NAME);
    LogConfigurator.configureWithoutConfig(Settings.builder().put("logger.level", "WARN").build());
    Settings chosen = settings.build();
    Path config = Path.of(chosen.get("path.home"), "config");
    Environment environment = InternalSettingsPreparer.prepareEnvironment(chosen, Map.of(), config, () -> NAME);
    var modules = PluginsLoader.loadModulesBundles(Path.of(arguments[0]), false);
    Node node = new Node(environment, PluginsLoader.createPluginsLoader(modules, Set.of(), Map.of(), false));
    Runtime.getRuntime().addShutdownHook(new Thread(() -> close(node)));
    node.start();
    Thread.currentThread().join();
  }

  private static void close(Node node) {
    try {
      node.close();
      node.awaitClose(20, TimeUnit.SECONDS);
    } catch (Exception error) {
      error.printStackTrace();
    }
  }
}
